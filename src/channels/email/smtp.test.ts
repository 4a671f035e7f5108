import { afterEach, expect, suite, test } from 'vitest'
import { DeliveryError } from '../../core/errors.ts'
import {
  startBrokenSmtpServer,
  type Answer,
  type BrokenSmtpServer,
  type Script,
} from '../../../test/broken-smtp-server.ts'
import { startSmtpServer } from '../../../test/smtp-server.ts'
import type { Mail } from './mail.ts'
import { smtpTransport } from './smtp.ts'
import { parseSmtpUrl, type SmtpServer } from './smtp-url.ts'
import type { Transport } from './transport.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const MAIL: Mail = {
  messageId: '<dlv-1@example.com>',
  from: { name: 'Example', address: 'news@example.com' },
  to: 'ivan.petrov@example.org',
  subject: 'Hello',
  text: 'Hello, Ivan',
  html: '<p>Hello, Ivan</p>',
  companyId: '',
}

const never = (): AbortSignal => new AbortController().signal
const hang: Answer = () => {}
const drop: Answer = (socket) => socket.destroy()

/** A server that follows the script, and a transport to it with short limits. */
async function broken(
  script: Script,
  { timeoutSeconds = 1, ...server }: Partial<SmtpServer> & { timeoutSeconds?: number } = {},
): Promise<{ double: BrokenSmtpServer; transport: Transport }> {
  const double = await startBrokenSmtpServer(script)
  closing.push(double.close)
  const transport = transportTo({ ...parseSmtpUrl(double.url), ...server }, timeoutSeconds)
  return { double, transport }
}

function transportTo(server: SmtpServer, timeoutSeconds = 5): Transport {
  const transport = smtpTransport(server, { connections: 2, timeoutSeconds })
  closing.push(transport.close)
  return transport
}

async function errorOf(sending: Promise<unknown>): Promise<DeliveryError> {
  const error: unknown = await sending.then(
    () => null,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(DeliveryError)
  return error as DeliveryError
}

suite('a mail over SMTP', () => {
  test('arrives once, for its one recipient, and the receipt has the id of the server', async () => {
    const server = await startSmtpServer()
    closing.push(server.close)

    const receipt = await transportTo(parseSmtpUrl(server.url)).send(MAIL, never())

    const [mail] = server.mails
    expect(server.mails).toHaveLength(1)
    expect(mail).toMatchObject({ from: 'news@example.com', to: ['ivan.petrov@example.org'], user: null })
    expect(receipt.providerId).toMatch(/^M1\d+$/)
  })

  test('shares connections with others, but never more than allowed', async () => {
    const { double, transport } = await broken({}, { timeoutSeconds: 10 })

    await Promise.all(Array.from({ length: 10 }, () => transport.send(MAIL, never())))

    expect(double.bodies).toHaveLength(10)
    expect(double.commands.filter((it) => it.startsWith('EHLO'))).toHaveLength(2)
  })

  test('is encrypted by smtps, and by STARTTLS where the server wants a login', async () => {
    const secure = await startSmtpServer({ isSecure: true })
    const login = { user: 'me@example.com', pass: 'p@ss:word' }
    const withLogin = await startSmtpServer({ login })
    closing.push(secure.close, withLogin.close)
    const url = withLogin.url.replace('//', `//${encodeURIComponent(login.user)}:${encodeURIComponent(login.pass)}@`)

    await transportTo(parseSmtpUrl(secure.url)).send(MAIL, never())
    await transportTo(parseSmtpUrl(url)).send(MAIL, never())

    expect(secure.mails[0]).toMatchObject({ isSecure: true })
    expect(withLogin.mails[0]).toMatchObject({ isSecure: true, user: login.user })
  })

  test('trusts no unknown certificate of another machine', async () => {
    const server = await startSmtpServer({ isSecure: true })
    closing.push(server.close)

    const error = await errorOf(transportTo({ ...parseSmtpUrl(server.url), isLoopback: false }).send(MAIL, never()))

    expect(error).toMatchObject({ verdict: 'retry', message: expect.stringContaining('CERT') })
    expect(server.mails).toEqual([])
  })

  test('never shows the password to another machine that offers no TLS', async () => {
    const auth = { user: 'me', pass: 'secret' }
    const { double, transport } = await broken(
      { ehlo: '250-broken\r\n250 AUTH PLAIN LOGIN' },
      { isLoopback: false, auth },
    )

    const error = await errorOf(transport.send(MAIL, never()))

    expect(error.verdict).toBe('retry')
    expect(double.commands.join('\n')).not.toMatch(/AUTH|MAIL|secret/)
  })

  test('waits a while after a refused login instead of trying it for every mail', async () => {
    const auth = { user: 'me', pass: 'wrong' }
    const { double, transport } = await broken(
      { ehlo: '250-broken\r\n250 AUTH PLAIN', auth: '535 5.7.8 Error: authentication failed for me' },
      { auth },
    )

    const errors = [await errorOf(transport.send(MAIL, never())), await errorOf(transport.send(MAIL, never()))]

    expect(errors.map(({ verdict }) => verdict)).toEqual(['retry', 'retry'])
    expect(errors[0]?.message).toMatch(/^credentials: 535 5\.7\.8/)
    expect(double.commands.filter((it) => it.startsWith('AUTH'))).toHaveLength(1)
  })
})

suite('a refusal', () => {
  const REFUSALS: [script: Script, expected: Partial<DeliveryError>][] = [
    [{ banner: '421 4.7.0 Too many connections' }, { verdict: 'retry', retryAfterSeconds: 60 }],
    [{ banner: '554 5.7.1 You are listed by zen.spamhaus.org' }, { verdict: 'retry', retryAfterSeconds: 3600 }],
    [{ rcpt: '450 4.2.1 Mailbox busy, try again later' }, { verdict: 'retry', retryAfterSeconds: 60 }],
    [{ rcpt: '550 5.1.1 No such user here' }, { verdict: 'forget-address' }],
    [{ rcpt: '550 5.7.1 Client host blocked using zen.spamhaus.org' }, { verdict: 'retry', retryAfterSeconds: 3600 }],
    [{ mail: '550 5.1.1 No such user here' }, { verdict: 'retry', retryAfterSeconds: 3600 }],
    [{ data: '451 4.3.0 Trouble here' }, { verdict: 'retry' }],
    [{ end: '452 4.3.1 Out of disk' }, { verdict: 'retry' }],
    [{ end: '554 5.7.1 This is spam' }, { verdict: 'reject' }],
    [
      { end: '550-5.1.1 The account that you tried to reach\r\n550 5.1.1 does not exist' },
      { verdict: 'forget-address' },
    ],
  ]

  test.each(REFUSALS)('%j has its verdict', async (script, expected) => {
    const { transport } = await broken(script)

    const error = await errorOf(transport.send(MAIL, never()))

    expect(error).toMatchObject(expected)
  })

  test('of one mail does no harm to the next', async () => {
    const { double, transport } = await broken({ rcpt: '450 4.2.1 Busy' })
    await errorOf(transport.send(MAIL, never()))
    double.script = {}

    const receipt = await transport.send(MAIL, never())

    expect(receipt).toEqual({ providerId: 'BROKEN1' })
  })

  test('is told without the address that it quotes', async () => {
    const { transport } = await broken({
      rcpt: '550 5.1.1 <ivan.petrov@example.org>: user "Ivan.Petrov" unknown (ivan.petrov=40example.org)',
    })

    const error = await errorOf(transport.send(MAIL, never()))

    expect(error.message).toBe('recipient-gone: 550 5.1.1 <…>: user "…" unknown (…)')
    expect(error.cause).toBeUndefined()
  })
})

suite('a server that breaks off', () => {
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
    closing.push(server.close)

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
