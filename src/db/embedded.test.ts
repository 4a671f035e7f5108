import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, suite, test, vi } from 'vitest'
import { startEmbedded, type Embedded, type EmbeddedOptions } from './embedded.ts'
import { connect } from './pool.ts'

const isRoot = process.geteuid?.() === 0
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'eventcenter-embedded-'))
  cleanups.push(() => rm(directory, { recursive: true }))
  await chmod(directory, 0o711)
  return directory
}

async function start(directory: string, options?: EmbeddedOptions): Promise<Embedded> {
  const embedded = await startEmbedded(directory, options)
  cleanups.push(embedded.stop)
  return embedded
}

async function query<Row>({ url }: Embedded, sql: string): Promise<Row[]> {
  const db = connect(url, { maxConnections: 1 })
  try {
    return await db.query<Row>(sql)
  } finally {
    await db.close()
  }
}

/** Runs `test/embedded-process.ts`; `lines` grows as it writes. */
async function startProcess(directory: string): Promise<{ child: ChildProcess; lines: string[] }> {
  const program = fileURLToPath(new URL('../../test/embedded-process.ts', import.meta.url))
  const child = spawn(process.execPath, [program, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanups.push(() => kill(child))
  const lines: string[] = []
  const reader = createInterface(child.stdout)
  reader.on('line', (line) => lines.push(line))
  await once(reader, 'line')
  return { child, lines }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}

async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z')
  return !stat.includes(') Z') // dead, and not yet noticed by whoever inherited it
}

suite('the built-in database', () => {
  test('keeps its rows from one start to the next', async () => {
    const directory = await temporaryDirectory()
    const first = await start(join(directory, 'new', 'dätä %20 ?&'))
    await query(first, `create table kept as select 'ё' as text`)
    await first.stop()

    const second = await start(join(directory, 'new', 'dätä %20 ?&'))

    expect(second.adopted).toBe(false)
    expect(await query(second, 'select text, lower(upper(text)) as lower from kept')).toEqual([
      { text: 'ё', lower: 'ё' },
    ])
  })

  test('is durable, checks its data, and listens on no network', async () => {
    const embedded = await start(await temporaryDirectory())

    const rows = await query<{ name: string; setting: string }>(
      embedded,
      `select name, setting from pg_settings where name in
         ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'listen_addresses', 'server_encoding')`,
    )

    expect(Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))).toEqual({
      fsync: 'on',
      synchronous_commit: 'on',
      full_page_writes: 'on',
      data_checksums: 'on',
      listen_addresses: '',
      server_encoding: 'UTF8',
    })
  })

  test('lets in only its own user, through a directory that is closed to others', async () => {
    const directory = await temporaryDirectory()

    const embedded = await start(directory)

    const socket = await stat(join(directory, 'socket'))
    const { uid } = await stat(`/proc/${embedded.pid()}`)
    expect(socket.mode & 0o777).toBe(0o700)
    expect(socket.uid).toBe(uid)
    expect((await stat(join(directory, 'postgres'))).mode & 0o777).toBe(0o700)
    expect(uid).not.toBe(0)
    expect(uid === process.geteuid?.()).toBe(!isRoot)
  })

  test('has its socket elsewhere when the path to the data is too long for one', async () => {
    const directory = join(await temporaryDirectory(), 'long'.repeat(30))

    const embedded = await start(directory)

    const socket = new URL(embedded.url.replace('@/', '@x/')).searchParams.get('host')!
    cleanups.push(() => rm(socket, { recursive: true }))
    expect(socket).not.toContain('longlong')
    expect((await stat(socket)).mode & 0o777).toBe(0o700)
    expect(await query(embedded, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  test('refuses a second server on its directory', async () => {
    const directory = await temporaryDirectory()
    const { child } = await startProcess(directory)

    const second = startEmbedded(directory)

    await expect(second).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(directory) })
    await expect(second).rejects.toThrow('Another EventCenter server is running')
    await expect(second).rejects.not.toHaveProperty('cause') // the words of the lock would be shown, and mislead
    await kill(child)
    expect((await start(directory)).adopted).toBe(true)
  })

  test('is adopted with every acknowledged row when the process that started it was killed', async () => {
    const directory = await temporaryDirectory()
    const { child, lines } = await startProcess(directory)
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(50))
    await kill(child)

    const adopted = await start(directory)

    expect(adopted.adopted).toBe(true)
    expect(adopted.pid()).toBe(JSON.parse(lines[0]!).pid)
    const rows = await query<{ n: string }>(adopted, 'select n from acknowledged')
    expect(rows.map(({ n }) => n)).toEqual(expect.arrayContaining(lines.slice(1)))
    await adopted.stop()
    expect(await isAlive(adopted.pid())).toBe(false)
  })

  test('starts again when the process and its server were killed together', async () => {
    const directory = await temporaryDirectory()
    const { child, lines } = await startProcess(directory)
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(50))
    process.kill(JSON.parse(lines[0]!).pid, 'SIGKILL')
    await kill(child)

    const restarted = await start(directory)

    expect(restarted.adopted).toBe(false)
    const rows = await query<{ n: string }>(restarted, 'select n from acknowledged')
    expect(rows.map(({ n }) => n)).toEqual(expect.arrayContaining(lines.slice(1)))
  })

  test.for([{ adopted: false }, { adopted: true }])(
    'is restarted when it is killed, under the same URL, and the pool finds it again (adopted: $adopted)',
    async ({ adopted }) => {
      const directory = await temporaryDirectory()
      if (adopted) await kill((await startProcess(directory)).child)
      const log = { info: vi.fn(), error: vi.fn() }
      const embedded = await start(directory, { log })
      const db = connect(embedded.url)
      cleanups.push(() => db.close())
      await db.query('create table kept as select 1 as one')
      const pid = embedded.pid()

      process.kill(pid, 'SIGKILL')

      await vi.waitFor(
        () => expect(log.info).toHaveBeenCalledWith(expect.anything(), 'the database server was restarted'),
        5000,
      )
      expect(log.error).toHaveBeenCalledWith({ pid }, 'the database server ended unexpectedly')
      expect(embedded.adopted).toBe(adopted)
      expect(embedded.pid()).not.toBe(pid)
      expect(await db.query('select * from kept')).toEqual([{ one: 1 }])
    },
  )

  test('stays away from a process that got the number of a dead server', async () => {
    const directory = await temporaryDirectory()
    const first = await start(directory)
    await first.stop()
    const pidFile = join(directory, 'postgres', 'postmaster.pid')
    await writeFile(pidFile, `${process.pid}\n${directory}/postgres\n1\n5432\n${directory}/socket\n\n1 1\nready   \n`)

    const second = await start(directory)

    expect(second.adopted).toBe(false)
    expect(await query(second, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  test('replaces a running server whose socket is gone', async () => {
    const directory = await temporaryDirectory()
    const { child, lines } = await startProcess(directory)
    await kill(child)
    await rm(join(directory, 'socket'), { recursive: true })

    const second = await start(directory)

    expect(second.adopted).toBe(false)
    expect(await isAlive(JSON.parse(lines[0]!).pid)).toBe(false)
    const rows = await query<{ n: string }>(second, 'select n from acknowledged')
    expect(rows.map(({ n }) => n)).toEqual(expect.arrayContaining(lines.slice(1)))
  })

  test('makes its files again when that was interrupted', async () => {
    const directory = await temporaryDirectory()
    const { child } = spawnSilently(directory)
    await vi.waitFor(async () => expect(await readdir(directory)).toContainEqual(expect.stringContaining('.new-')), {
      interval: 5,
    })
    await kill(child)
    await expect(access(join(directory, 'postgres'))).rejects.toThrow('ENOENT')

    const embedded = await start(directory)

    expect(await query(embedded, 'select 1 as one')).toEqual([{ one: 1 }])
    expect((await readdir(directory)).filter((name) => name.includes('.new-'))).toEqual([])
  })

  test('refuses files of another major version and says what to do', async () => {
    const directory = await temporaryDirectory()
    const first = await start(directory)
    await first.stop()
    await writeFile(join(directory, 'postgres', 'PG_VERSION'), '17\n')

    const second = startEmbedded(directory)

    await expect(second).rejects.toMatchObject({ code: 'invalid' })
    await expect(second).rejects.toThrow(/made by PostgreSQL 17, and this EventCenter brings PostgreSQL 18/)
  })

  test('says why it does not start', async () => {
    const directory = await temporaryDirectory()

    const embedded = startEmbedded(directory, { settings: { shared_buffers: 'much' } })

    await expect(embedded).rejects.toThrow(/invalid value for parameter "shared_buffers"/)
    expect((await start(directory)).adopted).toBe(false)
  })

  test('is no child of the terminal, writes its own log, and ends with stop', async () => {
    const directory = await temporaryDirectory()
    const embedded = await start(directory)
    const pid = embedded.pid()
    const [session] = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ').slice(3)
    const output = await readlink(`/proc/${pid}/fd/2`)

    await embedded.stop()

    expect(session).toBe(`${pid}`)
    expect(output).toBe(join(directory, 'postgres.log'))
    expect(await isAlive(pid)).toBe(false)
  })

  test('does not write what people sent into its log', async () => {
    const directory = await temporaryDirectory()
    const embedded = await start(directory)
    await query(embedded, 'create table person (address text unique)')

    const [twice, misread] = await Promise.allSettled([
      query(embedded, `insert into person values ('anna@example.com'), ('anna@example.com')`),
      query(embedded, `select address::integer from (values ('anna@example.com')) as person (address)`),
    ])

    expect(twice).toMatchObject({ reason: { code: '23505', detail: expect.stringContaining('anna') } })
    expect(misread).toMatchObject({ reason: { message: expect.stringContaining('anna') } })
    expect(await readFile(join(directory, 'postgres.log'), 'utf8')).not.toContain('anna')
  })

  test.runIf(isRoot)('names the directory that the user it runs as cannot enter', async () => {
    const closed = join(await temporaryDirectory(), 'closed')
    await mkdir(closed)
    await chmod(closed, 0o700)

    const embedded = startEmbedded(join(closed, 'data'))

    await expect(embedded).rejects.toMatchObject({ code: 'invalid' })
    await expect(embedded).rejects.toThrow(`cannot enter ${closed}. Allow that (chmod o+x ${closed})`)
  })
})

function spawnSilently(directory: string): { child: ChildProcess } {
  const program = fileURLToPath(new URL('../../test/embedded-process.ts', import.meta.url))
  const child = spawn(process.execPath, [program, directory], { stdio: 'ignore' })
  cleanups.push(() => kill(child))
  return { child }
}
