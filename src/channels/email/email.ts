import { createHash } from 'node:crypto'
import type { Account } from '../../core/account.ts'
import { parseAddress } from '../../core/email-address.ts'
import { AppError, DeliveryError } from '../../core/errors.ts'
import { decimal, oneOf, optional, required, wholeNumber } from '../../core/setting-parsers.ts'
import { defineChannel, type Message } from '../channel.ts'
import { composeMail, type Mail } from './mail.ts'
import { outboxTransport } from './outbox.ts'
import { parseSender, type Sender } from './sender.ts'
import { smtpTransport } from './smtp.ts'
import { parseSmtpUrl, type SmtpServer } from './smtp-url.ts'

const MINUTE = 60
const HOUR = 60 * MINUTE

/** Two days in all: long enough for a server that is down over a weekend night, and for every kind of greylisting. */
const RETRY_SECONDS = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR]

const DEFAULT_SENDER: Sender = { name: 'EventCenter', address: 'eventcenter@localhost' }

const settings = {
  SMTP_URL: {
    describe: 'Mail server: smtp://user:password@host:587 or smtps://…:465. Without it mail goes to the outbox page.',
    secret: true,
    parse: optional(parseSmtpUrl),
  },
  MAIL_FROM: {
    describe: 'Sender: news@example.com, or Example <news@example.com>. Must be set where SMTP_URL is.',
    parse: optional(parseSender),
  },
  SMTP_CONNECTIONS: {
    describe: 'Connections to the mail server that this process keeps at most.',
    default: '5',
    parse: required(wholeNumber(1, 100)),
  },
  SMTP_TIMEOUT_SECONDS: {
    describe: 'Time one mail may take in all, from waiting for a connection to the last answer of the server.',
    default: '60',
    parse: required(wholeNumber(1, 60)),
  },
  EMAIL_PER_SECOND: {
    describe: 'Mails that the account at the mail server may be given in a second, by all processes together.',
    parse: optional(decimal(0.001, 100_000)),
  },
  EMAIL_UNCERTAIN: {
    describe: 'When nobody can know whether the server took a mail: resend (once, same Message-ID), or hold it.',
    default: 'resend',
    parse: required(oneOf('resend', 'hold')),
  },
}

/** E-mail by SMTP; without a server it goes to the built-in outbox page. */
export const email = defineChannel({
  name: 'email',
  settings,

  faults: (values) =>
    values.SMTP_URL && 'MAIL_FROM' in values && !values.MAIL_FROM
      ? [{ name: 'MAIL_FROM', message: 'must be set where SMTP_URL is' }]
      : [],

  open({ SMTP_URL, MAIL_FROM, EMAIL_UNCERTAIN, ...limits }, { mailOutbox }) {
    if (SMTP_URL && !MAIL_FROM) throw new AppError('invalid', 'MAIL_FROM must be set where SMTP_URL is')
    const from = MAIL_FROM ?? DEFAULT_SENDER
    const transport = SMTP_URL
      ? smtpTransport(SMTP_URL, { connections: limits.SMTP_CONNECTIONS, timeoutSeconds: limits.SMTP_TIMEOUT_SECONDS })
      : outboxTransport(mailOutbox)

    return {
      name: 'email',
      bodyFormat: 'html',
      isInbox: false,
      prefersOwnText: false,
      isIdempotent: transport.isIdempotent,
      onUncertain: EMAIL_UNCERTAIN,
      account: accountOf(SMTP_URL, limits.EMAIL_PER_SECOND),
      retrySeconds: RETRY_SECONDS,

      parseAddress,
      address: ({ addresses }) =>
        addresses.find((it) => it.channel === 'email' && it.state === 'active') ??
        addresses.find((it) => it.channel === 'email') ??
        null,

      send: async (address, message, signal) => transport.send(mailOf(message, from, address.value), signal),
      check: () => transport.check(),
      close: () => transport.close(),
    }
  },
})

/** Another server, or another login, is another account: who changes it begins anew. */
function accountOf(server: SmtpServer | undefined, perSecond: number | undefined): Account {
  const name = server ? `${server.host}:${server.port} ${server.auth?.user ?? ''}` : 'outbox'
  const key = `email:${createHash('sha256').update(name).digest('hex').slice(0, 8)}`
  return { key, ...(perSecond !== undefined && { perSecond }) }
}

function mailOf(message: Message, from: Sender, address: string): Mail {
  const to = parseAddress(address)
  if (to === null) throw new DeliveryError('reject', 'The address is not one e-mail address')
  try {
    return composeMail(message, from, to)
  } catch (cause) {
    // Nothing was sent yet, and the same text would fail again.
    throw new DeliveryError('reject', 'The text cannot be made into a mail', { cause })
  }
}
