import { createTransport, type NodemailerError, type SendMailOptions } from 'nodemailer'
import type { Receipt } from '../channel.ts'
import { DeliveryError } from '../../core/errors.ts'
import type { Mail } from './mail.ts'
import { checkServer, poolOptions, type SmtpOptions } from './smtp-connection.ts'
import { explain } from './smtp-errors.ts'
import type { SmtpServer } from './smtp-url.ts'
import type { Transport } from './transport.ts'
import { urgentFirst } from './urgent-first.ts'

/** Hands mail to an SMTP server, over a few connections that stay open. */
export function smtpTransport(server: SmtpServer, options: SmtpOptions): Transport {
  const pool = createTransport(poolOptions(server, options))
  // The pool gives its connections in the order in which mails come.
  const inTurn = urgentFirst(options.connections)
  const inFlight = new Set<Promise<Receipt>>()
  const endOfData = new WeakMap<AbortSignal, () => void>()
  let loginRefusedUntil = 0
  let isClosed = false

  // A server that has the whole mail may have taken it, whatever happens then. Nodemailer reports that as trouble with
  // connecting, so this notes when the last byte of a mail leaves for the socket.
  pool.use('stream', ({ data: { signal }, message }, done) => {
    message.processFunc((output) => output.once('end', () => signal && endOfData.get(signal)?.()))
    done()
  })

  async function sendNow(mail: Mail, signal: AbortSignal): Promise<Receipt> {
    if (isClosed) throw new DeliveryError('retry', 'The mail channel is closing')
    if (Date.now() < loginRefusedUntil) {
      throw new DeliveryError('retry', 'The SMTP server refused the login a moment ago', {
        retryAfterSeconds: LOGIN_PAUSE_SECONDS,
      })
    }
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), options.timeoutSeconds * 1000)
    const stop = AbortSignal.any([signal, deadline.signal])
    let wasWritten = false
    endOfData.set(stop, () => {
      wasWritten = true
    })
    try {
      const { response } = await inTurn(mail.isUrgent ? 'urgent' : 'patient', stop, () =>
        pool.sendMail({ ...messageOf(mail), signal: stop }),
      )
      return receiptOf(response)
    } catch (error) {
      const { deliveryError, isLoginRefused } = explain(error as NodemailerError, {
        address: mail.to,
        wasWritten,
        hasExpired: deadline.signal.aborted,
      })
      if (isLoginRefused) loginRefusedUntil = Date.now() + LOGIN_PAUSE_SECONDS * 1000
      throw deliveryError
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    isIdempotent: false,

    async send(mail, signal) {
      const sending = sendNow(mail, signal)
      inFlight.add(sending)
      try {
        return await sending
      } finally {
        inFlight.delete(sending)
      }
    },

    check: () => checkServer(server, options),

    async close() {
      isClosed = true
      await Promise.allSettled(inFlight)
      pool.close()
    },
  }
}

/** A queue full of mail must not become a thousand wrong logins: providers lock the account. */
const LOGIN_PAUSE_SECONDS = 60

/** The envelope is explicit, so that nothing in a header decides who gets the mail. */
const messageOf = ({ messageId, from, to, subject, text, html }: Mail): SendMailOptions => ({
  envelope: { from: from.address, to: [to] },
  from,
  to: { name: '', address: to },
  messageId,
  // Text that looks like an encoded word would be decoded by the reader, with whatever is in it.
  subject: subject.replaceAll('=?', '=\u200b?'),
  text,
  html,
  headers: { 'Auto-Submitted': 'auto-generated' },
  disableFileAccess: true,
  disableUrlAccess: true,
})

/** The server's own id of the mail, by which its operator finds it, where the answer names one. */
function receiptOf(response: string): Receipt {
  const id = /(?:queued as|\bid=)[ <]*([\w.-]{4,100})/i.exec(response)?.[1]
  return id === undefined ? {} : { providerId: id }
}
