import type { NodemailerError } from 'nodemailer'
import { DeliveryError } from '../../core/errors.ts'
import { scrub } from './scrub.ts'
import { classify, parseReply, type SmtpReply, type Stage } from './smtp-replies.ts'

/** What is known of a failed send besides its error. */
type Circumstances = {
  /** The recipient, to be kept out of the message. */
  address: string
  /** The last byte of the mail had left. */
  wasWritten: boolean
  /** Our own time limit ended it. */
  hasExpired: boolean
}

/**
 * Turns an error of nodemailer into a verdict. The message goes into the attempts log; the error itself, which quotes
 * addresses, is left behind.
 */
export function explain(
  error: NodemailerError,
  { address, wasWritten, hasExpired }: Circumstances,
): { deliveryError: DeliveryError; isLoginRefused: boolean } {
  const stage = stageOf(error.command ?? '')
  const reply = parseReply(stage, error.response ?? '')
  if (reply) return fromReply(reply, address)

  const what = hasExpired ? 'The SMTP server took too long' : whatHappened(error)
  const deliveryError = wasWritten
    ? new DeliveryError('uncertain', `${what}, after it had been given the whole mail`)
    : new DeliveryError('retry', what)
  return { deliveryError, isLoginRefused: error.code === 'EAUTH' }
}

function fromReply(reply: SmtpReply, address: string): { deliveryError: DeliveryError; isLoginRefused: boolean } {
  const { class: replyClass, verdict, ...details } = classify(reply)
  const words = [String(reply.code), reply.status, scrub(reply.text, address)].filter(Boolean).join(' ')
  const deliveryError = new DeliveryError(verdict, `${replyClass}: ${words}`, details)
  return { deliveryError, isLoginRefused: replyClass === 'credentials' && reply.stage === 'login' }
}

function stageOf(command: string): Stage {
  if (command.startsWith('AUTH')) return 'login'
  if (command === 'MAIL FROM') return 'sender'
  if (command === 'RCPT TO') return 'recipient'
  return command === 'DATA' ? 'message' : 'connection'
}

const WHAT_HAPPENED: Record<string, string> = {
  EABORT: 'Sending was stopped',
  EDNS: 'The name of the SMTP server cannot be resolved',
  ETIMEDOUT: 'The SMTP server did not answer in time',
  ECONNECTION: 'The SMTP server closed the connection',
  ESOCKET: 'The connection to the SMTP server failed',
  ETLS: 'No TLS with the SMTP server',
  EAUTH: 'The SMTP server offers no login that we know',
}

function whatHappened({ code = '', originalCode = '' }: NodemailerError): string {
  const what = WHAT_HAPPENED[code] ?? 'The SMTP server did not answer as SMTP servers do'
  return /^[A-Z][A-Z\d_]*$/.test(originalCode) ? `${what} (${originalCode})` : what
}
