import { setTimeout as sleep } from 'node:timers/promises'
import { expect, suite, test } from 'vitest'
import type { Script } from '../../../test/broken-smtp-server.ts'
import { startSmtpServer } from '../../../test/smtp-server.ts'
import { afterwards, broken, errorOf, MAIL, never, transportTo } from '../../../test/smtp-transport.ts'
import type { DeliveryError } from '../../core/errors.ts'
import { parseSmtpUrl } from './smtp-url.ts'

suite('a mail over SMTP', () => {
  test('arrives once, for its one recipient, and the receipt has the id of the server', async () => {
    const server = await startSmtpServer()
    afterwards(server.close)

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

  test('for one person waits behind none to many, but for those on their way', async () => {
    const server = await startSmtpServer({ take: () => sleep(20) })
    afterwards(server.close)
    const transport = transportTo(parseSmtpUrl(server.url))
    const send = (to: string, isUrgent: boolean) => transport.send({ ...MAIL, to, isUrgent }, never())

    await Promise.all([
      ...Array.from({ length: 20 }, (_, n) => send(`list-${n}@example.org`, false)),
      send('person@example.org', true),
    ])

    const nth = server.mails.findIndex(({ to }) => to[0] === 'person@example.org')
    expect(nth).toBeLessThan(4)
    expect(server.mails).toHaveLength(21)
  })

  test('is encrypted by smtps, and by STARTTLS where the server wants a login', async () => {
    const secure = await startSmtpServer({ isSecure: true })
    const login = { user: 'me@example.com', pass: 'p@ss:word' }
    const withLogin = await startSmtpServer({ login })
    afterwards(secure.close, withLogin.close)
    const url = withLogin.url.replace('//', `//${encodeURIComponent(login.user)}:${encodeURIComponent(login.pass)}@`)

    await transportTo(parseSmtpUrl(secure.url)).send(MAIL, never())
    await transportTo(parseSmtpUrl(url)).send(MAIL, never())

    expect(secure.mails[0]).toMatchObject({ isSecure: true })
    expect(withLogin.mails[0]).toMatchObject({ isSecure: true, user: login.user })
  })

  test('trusts no unknown certificate of another machine', async () => {
    const server = await startSmtpServer({ isSecure: true })
    afterwards(server.close)

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
