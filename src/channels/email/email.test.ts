import PostalMime from 'postal-mime'
import { expect, suite, test } from 'vitest'
import { startBrokenSmtpServer } from '../../../test/broken-smtp-server.ts'
import { freshDatabase } from '../../../test/database.ts'
import { testMessage } from '../../../test/message.ts'
import { startSmtpServer } from '../../../test/smtp-server.ts'
import { afterwards } from '../../../test/smtp-transport.ts'
import type { Address, User } from '../../directory/directory.ts'
import { findMail, listMail, mailOutbox } from '../../store/outbox-mail.ts'
import { channelContract, type ChannelFixture } from '../channel.contract.ts'
import type { Channel, ChannelPorts } from '../channel.ts'
import { email } from './email.ts'
import { parseSender } from './sender.ts'
import { parseSmtpUrl } from './smtp-url.ts'

const IVAN: Address = { id: '1', channel: 'email', value: 'ivan.petrov@example.org', state: 'active' }
const USER: User = {
  company_id: '',
  user_id: 'u1',
  locale: 'en',
  time_zone: null,
  profile: {},
  addresses: [IVAN],
}

type Environment = Partial<Record<keyof typeof email.settings, string>>

/** Opens the channel as the server does: from the texts of its variables. */
function open(environment: Environment, ports: Partial<ChannelPorts> = {}): Channel {
  const values = Object.entries(email.settings).map(([name, setting]) => {
    const fallback = 'default' in setting ? setting.default : undefined
    return [name, setting.parse(environment[name as keyof Environment] ?? fallback)]
  })
  return email.open(Object.fromEntries(values), ports as ChannelPorts)
}

channelContract('email by SMTP', async (): Promise<ChannelFixture> => {
  const server = await startBrokenSmtpServer()
  return {
    definition: email,
    channel: open({ SMTP_URL: server.url, MAIL_FROM: 'news@example.com' }),
    user: USER,
    refuse: () => {
      server.script = { rcpt: `550 5.1.1 <${IVAN.value}>: User unknown` }
    },
    hang: () => {
      server.script = { end: () => {} }
    },
    close: server.close,
  }
})

channelContract('email by the outbox', async (): Promise<ChannelFixture> => {
  const { db, close } = await freshDatabase()
  const free = Promise.withResolvers<void>()
  let lock = Promise.resolve()
  return {
    definition: email,
    channel: open({}, { mailOutbox: mailOutbox(db) }),
    user: USER,
    refuse: async () => void (await db.query('alter table outbox_mail rename to gone')),
    hang: async () => {
      const locked = Promise.withResolvers<void>()
      lock = db.transaction(async (tx) => {
        await tx.query('lock table outbox_mail in access exclusive mode')
        locked.resolve()
        await free.promise
      })
      await locked.promise
    },
    async close() {
      free.resolve()
      await lock
      await close()
    },
  }
})

/** The message as a server received it. */
async function sent(message: ReturnType<typeof testMessage>) {
  const server = await startSmtpServer()
  const channel = open({ SMTP_URL: server.url, MAIL_FROM: 'Кинотеатр <news@example.com>' })
  afterwards(server.close, async () => channel.close?.())
  await channel.send(IVAN, message, new AbortController().signal)
  const [mail] = server.mails
  return { ...mail!, parsed: await PostalMime.parse(mail!.raw) }
}

suite('an e-mail', () => {
  test('has the text first and the HTML last, and says that no person wrote it', async () => {
    const html = '<p>Спасибо, <a href="https://example.com/o/1">заказ</a> оплачен.</p>'

    const { raw, parsed } = await sent(testMessage({ subject: 'Оплачено', body: html, format: 'html' }))

    expect(parsed.subject).toBe('Оплачено')
    expect(parsed.from).toEqual({ name: 'Кинотеатр', address: 'news@example.com' })
    expect(parsed.text?.trim()).toBe('Спасибо, заказ <https://example.com/o/1> оплачен.')
    expect(parsed.html).toContain(html)
    expect(raw.match(/^Content-Type: .*/gm)?.map((line) => line.replace(/; boundary=.*|;$/, ''))).toEqual([
      'Content-Type: multipart/alternative',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Type: text/html; charset=utf-8',
    ])
    expect(raw).toMatch(/^Auto-Submitted: auto-generated\r$/m)
    expect(Math.abs(Date.parse(parsed.date ?? '') - Date.now())).toBeLessThan(10_000)
  })

  test('has the same Message-ID on every attempt', async () => {
    const mails = [await sent(testMessage()), await sent(testMessage())]

    const ids = mails.map(({ parsed }) => parsed.messageId)
    expect(new Set(ids)).toEqual(new Set(['<dlv-0190a1b2-0000-8000-8000-00000000002a@example.com>']))
  })

  test('to a domain of another script goes to its ASCII name', async () => {
    const server = await startBrokenSmtpServer()
    const channel = open({ SMTP_URL: server.url, MAIL_FROM: 'news@example.com' })
    afterwards(server.close, async () => channel.close?.())

    await channel.send({ ...IVAN, value: 'ivan@почта.рф' }, testMessage(), new AbortController().signal)

    expect(server.commands).toContain('RCPT TO:<ivan@xn--80a1acny.xn--p1ai>')
    expect(server.bodies[0]).toMatch(/^To: ivan@xn--80a1acny\.xn--p1ai$/m)
  })

  test('prefers an address that works to one that is blocked', () => {
    const channel = open({ SMTP_URL: 'smtp://localhost', MAIL_FROM: 'news@example.com' })
    const blocked: Address = { ...IVAN, id: '2', value: 'old@example.org', state: 'blocked' }

    expect(channel.address({ ...USER, addresses: [blocked, IVAN] })).toBe(IVAN)
    expect(channel.address({ ...USER, addresses: [blocked] })).toBe(blocked)
    expect(channel.address({ ...USER, addresses: [] })).toBeNull()
  })
})

suite('without a mail server', () => {
  test('mail is kept in the outbox, a repetition once', async () => {
    const { db, close } = await freshDatabase()
    afterwards(close)
    const channel = open({ MAIL_FROM: 'Example <news@example.com>' }, { mailOutbox: mailOutbox(db) })
    const message = { ...testMessage({ subject: 'Paid' }), companyId: 'acme' }

    await channel.send(IVAN, message, new AbortController().signal)
    await channel.send(IVAN, message, new AbortController().signal)

    const [kept, ...others] = await listMail(db, 'acme', { limit: 10 })
    expect(others).toEqual([])
    expect(await findMail(db, 'acme', kept!.id)).toMatchObject({
      mail_from: 'Example <news@example.com>',
      mail_to: 'ivan.petrov@example.org',
      subject: 'Paid',
      text_part: 'Your order is paid.',
      html_part: expect.stringContaining('Your order is paid.'),
    })
    expect(channel.isIdempotent).toBe(true)
  })
})

suite('the settings of e-mail', () => {
  test('a server needs a sender', () => {
    expect(() => open({ SMTP_URL: 'smtp://localhost' })).toThrow('MAIL_FROM must be set where SMTP_URL is')
    const server = parseSmtpUrl('smtp://localhost')
    const fault = { name: 'MAIL_FROM', message: 'must be set where SMTP_URL is' }
    expect(email.faults?.({ SMTP_URL: server, MAIL_FROM: undefined })).toEqual([fault])
    expect(email.faults?.({ SMTP_URL: server })).toEqual([]) // it was set, and told to be wrong
    expect(email.faults?.({ SMTP_URL: server, MAIL_FROM: parseSender('news@example.com') })).toEqual([])
    expect(email.faults?.({ SMTP_URL: undefined, MAIL_FROM: undefined })).toEqual([])
  })

  test('with a server a crash may have sent the mail, and a person may want to decide', () => {
    const environment = { SMTP_URL: 'smtp://localhost', MAIL_FROM: 'news@example.com' }

    expect(open(environment)).toMatchObject({ isIdempotent: false, onUncertain: 'resend' })
    expect(open({ ...environment, EMAIL_UNCERTAIN: 'hold' })).toMatchObject({ onUncertain: 'hold' })
  })
})
