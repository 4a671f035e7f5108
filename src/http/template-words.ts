import { z } from 'zod'
import { invalidField, invalidFields } from '../core/errors.ts'
import { typeName } from '../core/event-type-schema.ts'
import { ANY_LOCALE, canonicalLocale } from '../core/template-lookup.ts'
import type { Ports } from '../ports.ts'
import type { TemplateDraft } from '../store/template.ts'

export type TemplatePorts = Pick<Ports, 'db' | 'renderer' | 'channels'>

/** `welcome_email`, or `job.done.photo` for the service `photo`. */
export const templateCode = typeName

/** A language tag in its canonical form, or `default`. */
export const locale = z
  .string()
  .max(35)
  .transform((text, context) => {
    const tag = text === ANY_LOCALE ? text : canonicalLocale(text)
    if (tag === null)
      context.addIssue({ code: 'custom', message: 'expected a language tag (BCP 47) such as ru or en-GB' })
    return tag ?? z.NEVER
  })

const MAX_TEXT_LENGTH = 100 * 1024
const text = z.string().max(MAX_TEXT_LENGTH)

/** What a template says, as the API takes it. */
export const words = {
  subject: text.nullable().exactOptional().describe('Liquid; always plain text of one line.'),
  body: text.min(1).describe('Liquid; HTML or plain text, as the channel wants it.'),
}

/** How a channel's templates are written, or `invalid`. */
export function formatOf({ channels }: Pick<Ports, 'channels'>, name: string): 'html' | 'text' {
  const channel = channels.get(name)
  if (channel) return channel.bodyFormat
  throw invalidField('channel', `there is no channel "${name}"; known: ${[...channels.keys()].join(', ')}`)
}

/** Throws `invalid` with everything that is wrong with a template as written. */
export async function refuseFaults(
  ports: Pick<TemplatePorts, 'renderer' | 'channels'>,
  { channel, locale, subject, body }: Pick<TemplateDraft, 'channel' | 'locale' | 'subject' | 'body'>,
): Promise<void> {
  const language = locale === ANY_LOCALE ? undefined : locale
  const faults = await ports.renderer.faults({ subject: subject ?? '', body }, formatOf(ports, channel), language)
  if (faults.length > 0) throw invalidFields(faults)
}
