import { afterEach, expect } from 'vitest'
import type { Mail } from '../src/channels/email/mail.ts'
import { smtpTransport } from '../src/channels/email/smtp.ts'
import { parseSmtpUrl, type SmtpServer } from '../src/channels/email/smtp-url.ts'
import type { Transport } from '../src/channels/email/transport.ts'
import { DeliveryError } from '../src/core/errors.ts'
import { startBrokenSmtpServer, type BrokenSmtpServer, type Script } from './broken-smtp-server.ts'

const closing: (() => Promise<void>)[] = []

/** Has something closed after the test, the last first. */
export const afterwards = (...close: (() => Promise<void>)[]): void => void closing.push(...close)

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

export const MAIL: Mail = {
  messageId: '<dlv-1@example.com>',
  from: { name: 'Example', address: 'news@example.com' },
  to: 'ivan.petrov@example.org',
  subject: 'Hello',
  text: 'Hello, Ivan',
  html: '<p>Hello, Ivan</p>',
  companyId: '',
  isUrgent: false,
}

/** A signal that never comes. */
export const never = (): AbortSignal => new AbortController().signal

export function transportTo(server: SmtpServer, timeoutSeconds = 5): Transport {
  const transport = smtpTransport(server, { connections: 2, timeoutSeconds })
  afterwards(() => transport.close())
  return transport
}

/** A server that follows the script, and a transport to it with short limits. */
export async function broken(
  script: Script,
  { timeoutSeconds = 1, ...server }: Partial<SmtpServer> & { timeoutSeconds?: number } = {},
): Promise<{ double: BrokenSmtpServer; transport: Transport }> {
  const double = await startBrokenSmtpServer(script)
  afterwards(double.close)
  const transport = transportTo({ ...parseSmtpUrl(double.url), ...server }, timeoutSeconds)
  return { double, transport }
}

/** What a send was rejected with, which must be a verdict. */
export async function errorOf(sending: Promise<unknown>): Promise<DeliveryError> {
  const error: unknown = await sending.then(
    () => null,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(DeliveryError)
  return error as DeliveryError
}
