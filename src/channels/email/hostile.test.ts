import PostalMime from 'postal-mime'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { testMessage } from '../../../test/message.ts'
import { startSmtpServer, type SmtpDouble } from '../../../test/smtp-server.ts'
import { DeliveryError } from '../../core/errors.ts'
import type { Channel } from '../channel.ts'
import { email } from './email.ts'
import { parseSender } from './sender.ts'
import { parseSmtpUrl } from './smtp-url.ts'

const EVIL = 'evil@attacker.example'

const BREAKS = ['\r\n', '\n', '\r', '\r\n\r\n', '\0', '\u2028', '\u0085', '%0d%0a', '=0D=0A', '\\r\\n', '\v', '\f']

/** What an attacker writes where an address is expected. */
const ADDRESSES = [
  ...BREAKS.flatMap((lineBreak) => [
    `ivan@example.org${lineBreak}Bcc: ${EVIL}`,
    `ivan@example.org>${lineBreak}RCPT TO:<${EVIL}`,
    `ivan@example.org${lineBreak}`,
  ]),
  `ivan@example.org, ${EVIL}`,
  `ivan@example.org;${EVIL}`,
  `ivan@example.org ${EVIL}`,
  `${EVIL}, ivan@example.org`,
  `friends: ivan@example.org, ${EVIL};`,
  `"${EVIL}" <ivan@example.org>`,
  `"ivan@example.org" <${EVIL}>`,
  `<${EVIL}>ivan@example.org`,
  `"${EVIL} x"@example.org`,
  `ivan@example.org(${EVIL})`,
  `ivan(${EVIL})@example.org`,
  `ivan@example.org@attacker.example`,
  `@attacker.example:ivan@example.org`,
  `=?utf-8?q?evil=40attacker.example=3E?=@example.org <x@y>`,
  `ivan@[attacker.example]`,
  `ivan@exa mple.org`,
  'ivan@',
  '@',
  '',
  ' ',
]

/** What an attacker writes where words are expected. */
const WORDS = [
  ...BREAKS.flatMap((lineBreak) => [
    `Hello${lineBreak}Bcc: ${EVIL}`,
    `Hello${lineBreak}To: ${EVIL}${lineBreak}${lineBreak}<script>alert(1)</script>`,
    `Hello${lineBreak}.${lineBreak}MAIL FROM:<${EVIL}>${lineBreak}RCPT TO:<${EVIL}>${lineBreak}DATA${lineBreak}`,
    `Hello${lineBreak}Content-Type: text/html${lineBreak}Content-Transfer-Encoding: base64`,
  ]),
  `=?utf-8?Q?=0D=0ABcc:_${EVIL}?=`,
  `=?utf-8?B?${Buffer.from(`\r\nBcc: ${EVIL}`).toString('base64')}?=`,
  '\u202eolleH',
  '\ud800\udfff\ud800',
  '.'.repeat(1000),
  '\r\n.\r\n'.repeat(100),
  'x'.repeat(10_000),
  '👩‍👩‍👧'.repeat(2000),
  '----_NmP-\r\nContent-Type: text/html\r\n\r\nx',
  'data:text/html,<script>1</script>',
  '../../../../etc/passwd',
  'file:///etc/passwd',
]

/** Of every mail, whatever it says. */
const HEADERS = ['auto-submitted', 'content-type', 'date', 'from', 'message-id', 'mime-version', 'subject', 'to']

let server: SmtpDouble
let channel: Channel

beforeAll(async () => {
  server = await startSmtpServer()
  channel = email.open(
    {
      SMTP_URL: parseSmtpUrl(server.url),
      MAIL_FROM: parseSender('Example <news@example.com>'),
      SMTP_CONNECTIONS: 2,
      SMTP_TIMEOUT_SECONDS: 10,
      EMAIL_PER_SECOND: undefined,
      EMAIL_UNCERTAIN: 'resend',
    },
    { bus: undefined as never, mailOutbox: undefined as never },
  )
})
afterAll(async () => {
  await channel.close?.()
  await server.close()
})

const to = (value: string) => ({ id: '1', channel: 'email', value, state: 'active' as const })
const signal = new AbortController().signal

suite('hostile text', () => {
  test('as an address is refused before any server hears of it', async () => {
    for (const value of ADDRESSES) {
      const error: unknown = await channel.send(to(value), testMessage(), signal).catch((error: unknown) => error)

      expect(error, value).toBeInstanceOf(DeliveryError)
      expect(error).toMatchObject({ verdict: 'reject', message: 'The address is not one e-mail address' })
    }
    expect(server.mails).toEqual([])
    expect(ADDRESSES.length).toBeGreaterThan(50)
  })

  test('in title, body and link goes to one recipient, in the same headers as ever', async () => {
    for (const words of WORDS) {
      server.mails.length = 0
      const cta = { label: words, url: `https://example.com/?q=${words}` }

      await channel.send(to('ivan@example.org'), testMessage({ subject: words, body: words }, { cta }), signal)
      await channel.send(to('ivan@example.org'), testMessage({ subject: words, body: words, format: 'html' }), signal)

      expect(server.mails).toHaveLength(2)
      for (const mail of server.mails) {
        const parsed = await PostalMime.parse(mail.raw)
        expect(mail.to).toEqual(['ivan@example.org'])
        expect(mail.from).toBe('news@example.com')
        expect(parsed.headers.map(({ key }) => key).sort()).toEqual(HEADERS)
        expect(parsed.to).toEqual([{ address: 'ivan@example.org', name: '' }])
        expect(parsed.from).toEqual({ address: 'news@example.com', name: 'Example' })
        expect(parsed.messageId).toBe('<dlv-0190a1b2-0000-8000-8000-00000000002a@example.com>')
        expect(parsed.attachments).toEqual([])
        expect(parsed.subject ?? '').not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u)
        expect((parsed.subject ?? '').length).toBeLessThanOrEqual(200)
      }
    }
    expect(WORDS.length).toBeGreaterThan(50)
  })
})
