import { expect, suite, test } from 'vitest'
import type { Answer, Script } from '../../../test/broken-smtp-server.ts'
import { startSmtpServer } from '../../../test/smtp-server.ts'
import { afterwards, broken, errorOf, MAIL, never, transportTo } from '../../../test/smtp-transport.ts'
import { parseSmtpUrl } from './smtp-url.ts'

const hang: Answer = () => {}
const drop: Answer = (socket) => socket.destroy()
const garbage: Answer = (socket) => socket.write('\x16\x03\x01\0\xffgarbage\r\n')
const trickle: Answer = (socket) => {
  const timer = setInterval(() => socket.write('2'), 100)
  socket.on('close', () => clearInterval(timer))
}
const flood: Answer = (socket) => {
  const chunk = Buffer.alloc(64 * 1024, 'x')
  let left = 160
  const pour = (): void => {
    while (left > 0 && !socket.destroyed) {
      left -= 1
      if (!socket.write(chunk)) return
    }
  }
  socket.on('drain', pour)
  pour()
}

suite('a server that breaks off', () => {
  const BEFORE: [name: string, script: Script][] = [
    ['at once', { banner: drop }],
    ['without a banner', { banner: hang }],
    ['with a banner that trickles', { banner: trickle }],
    ['with a banner of 10 MB', { banner: flood }],
    ['with a banner of garbage', { banner: garbage }],
    ['at EHLO', { ehlo: drop }],
    ['by trickling at EHLO', { ehlo: trickle }],
    [
      'by garbage after STARTTLS',
      { ehlo: '250-broken\r\n250 STARTTLS', starttls: (socket) => socket.write('220 Go\r\nnonsense'.repeat(3)) },
    ],
    ['by silence after STARTTLS', { ehlo: '250-broken\r\n250 STARTTLS', starttls: '220 Go' }],
    ['by refusing STARTTLS', { ehlo: '250-broken\r\n250 STARTTLS', starttls: '454 4.7.0 TLS not available' }],
    ['at MAIL', { mail: drop }],
    ['by silence at RCPT', { rcpt: hang }],
    ['by trickling at RCPT', { rcpt: trickle }],
    ['at DATA', { data: drop }],
    ['by garbage at DATA', { data: garbage }],
  ]

  test.each(BEFORE)('%s is tried again later, in bounded time', async (_name, script) => {
    const { transport } = await broken(script)
    const startedAt = Date.now()

    const error = await errorOf(transport.send(MAIL, never()))

    expect(error.verdict).toBe('retry')
    expect(Date.now() - startedAt).toBeLessThan(3000)
  })

  const AFTER: [name: string, script: Script][] = [
    ['never answers', { end: hang }],
    ['drops the connection', { end: drop }],
    ['closes the connection', { end: (socket) => socket.end() }],
    ['trickles', { end: trickle }],
    ['answers garbage', { end: garbage }],
  ]

  test.each(AFTER)('after the whole mail (%s) leaves it uncertain, in bounded time', async (_name, script) => {
    const { double, transport } = await broken(script)
    const startedAt = Date.now()

    const error = await errorOf(transport.send(MAIL, never()))

    expect(error.verdict).toBe('uncertain')
    expect(double.bodies).toHaveLength(1)
    expect(Date.now() - startedAt).toBeLessThan(3000)
  })

  test('in the middle of a mail too big for all buffers is tried again', async () => {
    const { double, transport } = await broken(
      {
        data: (socket) => {
          socket.write('354 Go on\r\n')
          socket.pause()
          setTimeout(() => socket.destroy(), 300)
        },
      },
      { timeoutSeconds: 5 },
    )

    const error = await errorOf(transport.send({ ...MAIL, text: 'word '.repeat(4_000_000) }, never()))

    expect(error.verdict).toBe('retry')
    expect(double.bodies).toEqual([])
  })

  test('takes no memory by what it pours out', async () => {
    const { transport } = await broken({ banner: flood })
    const before = process.memoryUsage().rss

    await Promise.all(Array.from({ length: 10 }, () => errorOf(transport.send(MAIL, never()))))

    expect(process.memoryUsage().rss - before).toBeLessThan(60 * 1024 * 1024)
  })

  test('between two mails costs nothing', async () => {
    const { double, transport } = await broken({ end: (socket) => socket.end('250 2.0.0 Ok\r\n') })
    await transport.send(MAIL, never())
    double.script = {}

    const receipt = await transport.send(MAIL, never())

    expect(receipt).toEqual({ providerId: 'BROKEN1' })
  })

  test('as the next mail begins costs nothing either, as not a byte of it was sent', async () => {
    const { double, transport } = await broken({})
    await transport.send(MAIL, never())
    const recover: Answer = (socket) => {
      double.script = {}
      socket.write('250 broken\r\n')
    }
    double.script = { mail: drop, ehlo: recover }

    const receipt = await transport.send(MAIL, never())

    expect(receipt).toEqual({ providerId: 'BROKEN1' })
    expect(double.bodies).toHaveLength(2)
  })

  test('that does not exist is tried again', async () => {
    const refused = transportTo({ ...parseSmtpUrl('smtp://127.0.0.1:1') }, 1)
    const unknown = transportTo({ ...parseSmtpUrl('smtp://no-such-host.invalid') }, 2)

    const errors = [await errorOf(refused.send(MAIL, never())), await errorOf(unknown.send(MAIL, never()))]

    expect(errors.map(({ verdict }) => verdict)).toEqual(['retry', 'retry'])
    expect(errors[0]?.message).toContain('ECONNREFUSED')
  })
})

suite('stopping', () => {
  test('a send before the mail was given away means trying again, at once', async () => {
    const { transport } = await broken({ rcpt: hang }, { timeoutSeconds: 60 })
    const stop = new AbortController()

    const sending = errorOf(transport.send(MAIL, stop.signal))
    setTimeout(() => stop.abort(), 200)

    await expect(sending).resolves.toMatchObject({ verdict: 'retry', message: 'Sending was stopped' })
  })

  test('a send after the mail was given away leaves it uncertain', async () => {
    const stop = new AbortController()
    const { transport } = await broken({ end: () => stop.abort() }, { timeoutSeconds: 60 })

    const error = await errorOf(transport.send(MAIL, stop.signal))

    expect(error.verdict).toBe('uncertain')
  })

  test('a send that waits for a connection does not disturb the others', async () => {
    const { double, transport } = await broken({ end: hang }, { timeoutSeconds: 60 })
    const stop = new AbortController()
    const busy = [transport.send(MAIL, stop.signal), transport.send(MAIL, stop.signal)].map(errorOf)
    const waiting = new AbortController()
    const third = errorOf(transport.send(MAIL, waiting.signal))
    await expect.poll(() => double.bodies.length).toBe(2)

    waiting.abort()

    await expect(third).resolves.toMatchObject({ verdict: 'retry' })
    stop.abort()
    await Promise.all(busy)
  })

  test('the transport waits for mail on its way and takes no more', async () => {
    const answers: (() => void)[] = []
    const { double, transport } = await broken(
      { end: (socket) => answers.push(() => socket.write('250 2.0.0 Ok\r\n')) },
      { timeoutSeconds: 60 },
    )
    const sending = transport.send(MAIL, never())
    await expect.poll(() => double.bodies.length).toBe(1)

    const closed = transport.close()
    const late = await errorOf(transport.send(MAIL, never()))
    for (const answer of answers) answer()

    await expect(sending).resolves.toEqual({})
    await closed
    expect(late.verdict).toBe('retry')
  })
})

suite('checking the server', () => {
  test('passes where a mail would be taken, and sends nothing', async () => {
    const login = { user: 'me', pass: 'secret' }
    const server = await startSmtpServer({ login })
    afterwards(server.close)

    await transportTo(parseSmtpUrl(server.url.replace('//', '//me:secret@'))).check()

    expect(server.mails).toEqual([])
  })

  test.each<[string, Script]>([
    ['a refused login', { ehlo: '250-broken\r\n250 AUTH PLAIN', auth: '535 5.7.8 No, me@example.com' }],
    ['a server that never speaks', { banner: hang }],
    ['a server that trickles', { ehlo: (socket) => void setInterval(() => socket.write('2'), 100).unref() }],
    ['a server that breaks off', { banner: drop }],
  ])('tells of %s, in bounded time', async (_name, script) => {
    const { transport } = await broken(script, { auth: { user: 'me', pass: 'x' } })
    const startedAt = Date.now()

    const error = await errorOf(transport.check())

    expect(error.message).not.toContain('@')
    expect(Date.now() - startedAt).toBeLessThan(3000)
  })
})
