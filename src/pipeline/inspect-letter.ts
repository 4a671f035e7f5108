import type { Channel } from '../channels/channel.ts'
import { partlyHidden, partlyHiddenAddress } from '../core/partly-hidden.ts'
import { localeChain } from '../core/template-lookup.ts'
import { templateVariables } from '../core/template-variables.ts'
import type { EventType } from '../core/event-type.ts'
import { unknownUser, type User } from '../directory/directory.ts'
import type { Ports } from '../ports.ts'
import { TemplateError } from '../render/renderer.ts'
import { isAddressNewer } from '../store/address-age.ts'
import type { DeadLetterInputs } from '../store/dead-letters.ts'
import { templateVersion, type Template } from '../store/template.ts'
import { textSource, type OwnText } from '../store/text-source.ts'

type InspectPorts = Pick<Ports, 'db' | 'directory' | 'channels' | 'eventTypes' | 'renderer'>
type InspectOptions = { defaultLocale: string; publicUrl: () => string }

/** A message as it was or would be made; `error` where it cannot be. Addresses are partly hidden. */
export type MadeText = {
  template: { template_code: string; locale: string; version: number } | null
  subject: string | null
  body: string | null
  error: string | null
}

export type Inspection = {
  /** Null where no template was used, or never got so far. */
  before: MadeText | null
  /** Null where the channel is not installed. */
  now: MadeText | null
  user: { is_known: boolean; locale: string | null }
  /** Where it would go now; null: nowhere. `is_new`: the directory did not know it then; null: it cannot say. */
  address: { value: string; state: string; is_new: boolean | null } | null
  /** What is not as it was then. */
  differs: Difference[]
}

export const DIFFERENCES = ['channel', 'event_type', 'address', 'template', 'locale', 'subject', 'body'] as const
type Difference = (typeof DIFFERENCES)[number]

/**
 * What a dead letter said, and what it would say if it were made today. Both are made with what the directory knows of
 * the user now, as it keeps no history.
 */
export async function inspectLetter(
  ports: InspectPorts,
  options: InspectOptions,
  companyId: string,
  letter: DeadLetterInputs,
): Promise<Inspection> {
  const channel = ports.channels.get(letter.channel)
  const type = await ports.eventTypes.version(letter.event_type_id)
  const known = await ports.directory.find(companyId, letter.user_id)
  const user = known ?? unknownUser(companyId, letter.user_id)
  const context = { ports, options, companyId, letter, type, user }

  const template = letter.template_id === null ? null : await templateVersion(ports.db, letter.template_id)
  const before = template && channel ? await made(context, channel, { template }) : null
  const now = channel ? await madeNow(context, channel) : null
  const address = channel ? await addressNow(context, channel) : null
  const changes: [Difference, boolean][] = [
    ['channel', !channel],
    ['event_type', letter.event_type_version !== letter.current_event_type_version],
    ['address', address === null || address.state !== 'active' || address.is_new === true],
    ['template', !isSame(before, now, ({ template }) => template?.template_code) || !isSame(before, now, versionOf)],
    ['locale', !isSame(before, now, ({ template }) => template?.locale)],
    ['subject', !isSame(before, now, ({ subject }) => subject)],
    ['body', !isSame(before, now, ({ body }) => body)],
  ]
  return {
    before,
    now,
    user: { is_known: known !== null, locale: user.locale },
    address: address && { ...address, value: partlyHiddenAddress(address.value) },
    differs: changes.filter(([, isChanged]) => isChanged).map(([name]) => name),
  }
}

type Context = {
  ports: InspectPorts
  options: InspectOptions
  companyId: string
  letter: DeadLetterInputs
  type: EventType | null
  user: User
}

async function madeNow(context: Context, channel: Channel): Promise<MadeText> {
  const { ports, options, companyId, letter, type, user } = context
  const source = await textSource(ports.db, {
    companyId,
    event: letter.event,
    type,
    channel,
    locales: localeChain(user.locale, options.defaultLocale),
  })
  if ('missing' in source) return { template: null, subject: null, body: null, error: source.missing }
  return made(context, channel, source)
}

async function made(
  { ports, options, letter, type, user }: Context,
  channel: Channel,
  source: { template: Template } | { own: OwnText },
): Promise<MadeText> {
  if ('own' in source) {
    const { subject, body } = source.own
    return { template: null, subject: partlyHidden(subject), body: partlyHidden(body), error: null }
  }
  const { template_code, locale, version, subject, body } = source.template
  const template = { template_code, locale, version }
  try {
    const text = await ports.renderer.render(
      { subject: subject ?? letter.event.title ?? '', body },
      channel.bodyFormat,
      templateVariables(letter, type, user, locale, options.publicUrl()),
      locale,
    )
    return { template, subject: partlyHidden(text.subject), body: partlyHidden(text.body), error: null }
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return { template, subject: null, body: null, error: error.message }
  }
}

async function addressNow({ ports, companyId, letter, user }: Context, channel: Channel) {
  const address = channel.address(user)
  if (!address) return null
  const diedAt = letter.attempts.at(-1)?.at ?? letter.at
  const isNew = await isAddressNewer(ports.db, { companyId, userId: letter.user_id }, address, diedAt)
  return { value: address.value, state: address.state, is_new: isNew }
}

const versionOf = ({ template }: MadeText): number | undefined => template?.version

/** What cannot be compared has not changed. */
const isSame = (before: MadeText | null, now: MadeText | null, part: (made: MadeText) => unknown): boolean =>
  !before || !now || part(before) === part(now)
