import type { Event } from '../core/event.ts'
import type { EventType } from '../core/event-type.ts'
import { chooseTemplate, DEFAULT_CODE, templateCodes } from '../core/template-lookup.ts'
import type { Queryable } from '../db/db.ts'
import { findTemplates, templateVersion, type Template } from './template.ts'

/** An event's own title and body: always plain text, whatever it looks like. */
export type OwnText = { subject: string; body: string; format: 'text' }

/** What a message is made of: a template, the event's own words, or, for want of both, nothing. */
export type TextSource = { template: Template } | { own: OwnText } | { missing: string }

export type TextWanted = {
  companyId: string
  event: Event
  type: EventType | null
  channel: { name: string; prefersOwnText: boolean }
  /** Best first, see `localeChain`. */
  locales: readonly string[]
  /** This version of a template, whatever is current. */
  pinnedTemplateId?: string | null
}

/** Decides what says this event over this channel to a reader of these locales. */
export async function textSource(
  db: Queryable,
  { companyId, event, type, channel, locales, pinnedTemplateId = null }: TextWanted,
): Promise<TextSource> {
  const pinned = pinnedTemplateId === null ? null : await templateVersion(db, pinnedTemplateId)
  if (pinned) return { template: pinned }

  const own: OwnText | null =
    event.title === undefined ? null : { subject: event.title, body: event.body ?? '', format: 'text' }
  if (channel.prefersOwnText && own) return { own }

  // The default template frames the event's own words, so it says nothing where there are none.
  const codes = templateCodes(type?.template_code ?? event.type, event).filter(
    (code) => code !== DEFAULT_CODE || own !== null,
  )
  const stored = await findTemplates(db, companyId, codes, channel.name)
  const template = chooseTemplate(stored, { codes, locales, companyId })
  if (template) return { template }
  if (own) return { own }
  return { missing: `no template "${codes.join('" or "')}" for ${channel.name} in ${locales.join(', ')}` }
}
