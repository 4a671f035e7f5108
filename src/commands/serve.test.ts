import { connect, createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { expect, onTestFinished, suite, test } from 'vitest'
import { run, start, temporaryDirectory, type Running } from '../../test/command-line.ts'
import { freePort } from '../../test/free-port.ts'

const KEY = /sk_\w{12}_\w{49}/

suite('eventcenter serve', () => {
  test('greets on the first start with a key that works, ends on Ctrl-C, and finds everything again', async () => {
    const DATA_DIR = await temporaryDirectory()
    const first = serve({ DATA_DIR })
    const url = await urlOf(first)
    const [key = ''] = await first.written('stderr', KEY)
    const accepted = await send(url, key)

    first.child.kill('SIGINT')
    const ended = await first.ended

    expect(accepted.status).toBe(202)
    expect(ended).toMatchObject({ exitCode: 0, signal: null })
    const { event_id } = (await accepted.json()) as { event_id: string }

    const second = serve({ DATA_DIR })
    const again = await urlOf(second)
    const status = await fetch(`${again}/api/v1/events/${event_id}`, { headers: { authorization: `Bearer ${key}` } })
    second.child.kill('SIGTERM')

    expect(status.status).toBe(200)
    expect(await second.ended).toMatchObject({ exitCode: 0, signal: null })
    expect(second.output.stderr).toContain('api-key')
    expect(second.output.stderr + second.output.stdout).not.toContain(key)
  })

  test('is what `send` and `key` talk to while it runs', async () => {
    const DATA_DIR = await temporaryDirectory()
    const PORT = await freePort()
    const server = serve({ DATA_DIR, PORT })
    await urlOf(server)
    const event = ['send', '--to', 'demo', '--type', 'job.done', '--title', 'Ready', '--body', 'All done.']

    const sent = await run(event, { DATA_DIR, PORT })
    const refused = await run([...event.slice(0, -1), ''], { DATA_DIR, PORT })
    const key = await run(['key', 'create', '--name', 'shop', '--scope', 'events:write'], { DATA_DIR })
    const accepted = await send(`http://127.0.0.1:${PORT}`, key.stdout.trim())

    expect(sent).toMatchObject({ exitCode: 0, stderr: '' })
    expect(JSON.parse(sent.stdout)).toMatchObject({ status: 'accepted', jobs_count: expect.any(Number) as number })
    expect(refused.exitCode).toBe(1)
    expect(refused.stderr).toMatch(/^The server answers 400: .*body/)
    expect(accepted.status).toBe(202)
  })

  test('greets in Russian where the terminal does, and keeps the greeting out of the log', async () => {
    const server = serve({ DATA_DIR: await temporaryDirectory(), LANG: 'ru_RU.UTF-8' })

    await server.written('stderr', /EventCenter работает: http/)
    server.child.kill('SIGTERM')
    const { stdout } = await server.ended

    for (const line of stdout.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ level: 'info' })
    expect(stdout).not.toContain('sk_')
  })

  test('ends at once on the second signal', async () => {
    const server = serve({ DATA_DIR: await temporaryDirectory() })
    const url = new URL(await urlOf(server))
    const [key = ''] = await server.written('stderr', KEY)
    await openRequest(url, key) // the first signal waits for it

    server.child.kill('SIGTERM')
    await server.written('stdout', /"stopping"/)
    const again = setInterval(() => server.child.kill('SIGTERM'), 100)
    onTestFinished(() => clearInterval(again))

    expect(await server.ended).toMatchObject({ exitCode: 1 })
  })

  test('takes a Ctrl-C that npm passes on a second time for one', async () => {
    const DATA_DIR = await temporaryDirectory()
    const server = serve({ DATA_DIR })
    await urlOf(server)

    server.child.kill('SIGINT')
    await server.written('stdout', /"stopping"/)
    server.child.kill('SIGINT')
    const { exitCode, stdout } = await server.ended

    expect(exitCode).toBe(0)
    expect(stdout).toContain('"stopped"')
    const next = serve({ DATA_DIR })
    await urlOf(next)
    expect(next.output.stdout).not.toContain('still running')
  })

  test('ends, with the cause in the log once, when something was not handled', async () => {
    const broken = 'process.on("SIGUSR2",()=>{for(let i=0;i<3;i++)Promise.reject(new Error("broken "+i))})'
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(broken)}`
    const server = serve({ DATA_DIR: await temporaryDirectory(), NODE_OPTIONS })
    await urlOf(server)

    server.child.kill('SIGUSR2')
    const { exitCode, stdout } = await server.ended

    expect(exitCode).toBe(1)
    expect(stdout.match(/"fatal".*"unhandled error"/g)).toHaveLength(1)
    expect(stdout).toContain('broken 0')
    expect(stdout).toContain('"stopped"')
  })

  test.each([
    [
      'settings that are wrong',
      { PORT: 'x', HOST: ' ' },
      [],
      /^The settings have 2 faults:\n {2}PORT: .*\n {2}HOST: .*\n$/,
    ],
    [
      'a role that does not exist',
      {},
      ['api', 'cook'],
      /^The settings have 1 fault:\n {2}ROLES: expected one of api, worker/,
    ],
  ])('does not start with %s', async (_what, environment, roles, message) => {
    const { exitCode, stderr } = await run(['serve', ...roles], {
      DATA_DIR: await temporaryDirectory(),
      ...environment,
    })

    expect(exitCode).toBe(1)
    expect(stderr).toMatch(message)
  })

  test('does not start on a port that is taken, and leaves no database running', async () => {
    const DATA_DIR = await temporaryDirectory()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    onTestFinished(() => void other.close())

    const { exitCode, stderr } = await run(['serve'], { DATA_DIR, PORT: String((other.address() as AddressInfo).port) })

    expect(exitCode).toBe(1)
    expect(stderr).toMatch(
      /^The server cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\): another program has that port\. Stop it, or set PORT\.\n$/,
    )
    const next = serve({ DATA_DIR })
    await urlOf(next)
    expect(next.output.stdout).not.toContain('still running')
  })
})

function serve(environment: Record<string, string>): Running {
  const server = start(['serve'], { PORT: '0', ...environment })
  onTestFinished(async () => {
    server.child.kill('SIGTERM')
    await server.ended
  })
  return server
}

const urlOf = async (server: Running): Promise<string> =>
  (await server.written('stderr', /(http:\/\/[\d.]+:\d+)\/api\/v1\/events[\s\S]*Ctrl-C/))[1] ?? ''

const send = (url: string, key: string): Promise<Response> =>
  fetch(`${url}/api/v1/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ user_id: 'demo', type: 'job.done', title: 'Ready', body: 'All done.' }),
  })

/** A request whose body never comes to its end. */
async function openRequest(url: URL, key: string): Promise<void> {
  const socket = connect(Number(url.port), url.hostname)
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  socket.write('GET /health HTTP/1.1\r\nhost: a\r\n\r\n')
  await once(socket, 'data') // it is being served from here on
  const headers = ['host: a', `authorization: Bearer ${key}`, 'content-type: application/json', 'content-length: 10']
  socket.write(`POST /api/v1/events HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n{`)
}
