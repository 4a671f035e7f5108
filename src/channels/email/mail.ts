import type { Message } from '../channel.ts'
import { domainOf } from '../../core/email-address.ts'
import { plainText } from '../../core/plain-text.ts'
import { htmlPage, paragraphs } from './html.ts'
import type { Sender } from './sender.ts'

/** A finished mail with exactly one recipient. Both parts are always there: some people only see the text. */
export type Mail = {
  /** With its angle brackets. The same on every attempt, so that mail servers fold repetitions. */
  messageId: string
  from: Sender
  to: string
  subject: string
  text: string
  html: string
  companyId: string
  /** It does not wait behind those that are not. */
  isUrgent: boolean
}

/** Writes the mail of a message. `to` is an address that `parseAddress` returned. */
export function composeMail(message: Message, from: Sender, to: string): Mail {
  const { jobId, companyId, notification, locale, text } = message
  const title = oneLine(text.subject) || oneLine(notification.title) || notification.type
  const common = {
    messageId: `<dlv-${jobId}@${domainOf(from.address)}>`,
    from,
    to,
    companyId,
    isUrgent: message.lane === 'p2p',
  }

  if (text.format === 'html') {
    const html = printable(text.body)
    return { ...common, subject: title, text: plainText(html) || title, html: htmlPage({ title, locale, body: html }) }
  }
  const { cta } = notification
  const body = printable(text.body).trim()
  const link = cta && { label: oneLine(cta.label), url: cta.url }
  return {
    ...common,
    subject: title,
    text: [body || title, link && `${link.label}: ${link.url}`].filter(Boolean).join('\n\n'),
    html: htmlPage({ title, locale, body: paragraphs(title, body, link) }),
  }
}

const MAX_SUBJECT_LENGTH = 200

/** Header text: no line breaks or other controls, no characters that turn the reading direction round, not too long. */
function oneLine(text: string): string {
  const line = text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replaceAll(/\p{Bidi_Control}/gu, '')
    .trim()
  if (line.length <= MAX_SUBJECT_LENGTH) return line
  // Cut between what readers see as characters.
  const cut = new Intl.Segmenter().segment(line).containing(MAX_SUBJECT_LENGTH - 1)
  return `${line.slice(0, cut?.index ?? 0).trimEnd()}…`
}

/** Body text: line breaks and tabs are the only controls. */
const printable = (text: string): string =>
  text
    .toWellFormed()
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/(?![\n\t])\p{Cc}/gu, '')
