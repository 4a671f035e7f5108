import { z } from 'zod'
import { channelName, typeName } from '../core/event-type-schema.ts'
import { LETTER_KINDS, type DeadLetter, type LetterFilter } from '../store/dead-letters.ts'
import { uuidOf } from '../core/id.ts'
import { partlyHidden } from '../core/partly-hidden.ts'
import { DIFFERENCES } from '../pipeline/inspect-letter.ts'
import { time } from './time.ts'

/** Which dead letters, in a query and in a replay. */
export const letterFilter = {
  kind: z
    .enum(LETTER_KINDS)
    .exactOptional()
    .describe('failed: used up or refused. uncertain: it may have arrived, and nobody can know.'),
  channel: channelName.exactOptional(),
  type: typeName.exactOptional(),
  reason: z.string().min(1).max(200).exactOptional().describe('The reason of a group.'),
  since: time.exactOptional(),
  until: time.exactOptional(),
}

/** The members of a filter among those of a query. */
export function filterOf(query: LetterFilter): LetterFilter {
  const names = Object.keys(letterFilter) as (keyof LetterFilter)[]
  return Object.fromEntries(names.filter((name) => query[name] !== undefined).map((name) => [name, query[name]]))
}

const member = {
  job_id: z.string(),
  kind: z.enum(LETTER_KINDS),
  at: z.string().describe('When it died.'),
  reason: z.string(),
  reason_group: z.string().describe('What such reasons have in common.'),
  event_id: z.string(),
  type: z.string(),
  channel: z.string(),
  user_id: z.string(),
  attempts_count: z.number().int(),
  expires_at: z.string().nullable(),
  is_expired: z.boolean().describe('Too late to be sent again.'),
  is_cancelled: z.boolean().describe('Its event was cancelled: it is not sent again.'),
}

export const deadLetterSchema = z.object(member).meta({ id: 'DeadLetter' })

export const groupSchema = z
  .object({
    reason: z.string(),
    kind: z.enum(LETTER_KINDS),
    channel: z.string(),
    type: z.string(),
    count: z.number().int(),
    first_at: z.string(),
    last_at: z.string(),
  })
  .meta({ id: 'DeadLetterGroup' })

const version = z.number().int()
const madeText = z.object({
  template: z.object({ template_code: z.string(), locale: z.string(), version }).nullable(),
  subject: z.string().nullable(),
  body: z.string().nullable(),
  error: z.string().nullable().describe('Why it cannot be made.'),
})
const json = z.record(z.string(), z.json())

/** One letter with what went into it and what it would be now. */
export const inspectedSchema = z
  .object({
    ...member,
    notification_id: z.string(),
    inputs: z.object({
      event: json.describe('As it was accepted, addresses partly hidden.'),
      event_type_version: version,
      vars: json.nullable().describe('Data of this delivery alone, over the data of the event.'),
    }),
    attempts: z
      .array(z.object({ n: z.number().int(), at: z.string(), verdict: z.string(), message: z.string() }))
      .describe('Attempts that did not end in SENT.'),
    before: madeText.nullable().describe('By the template that was used; null: none was.'),
    now: madeText.nullable().describe('By the current template; null: the channel is not installed.'),
    user: z.object({ is_known: z.boolean(), locale: z.string().nullable() }),
    address: z
      .object({
        value: z.string().describe('Partly hidden.'),
        state: z.string(),
        is_new: z.boolean().nullable().describe('The directory did not know it then; null: it cannot say.'),
      })
      .nullable()
      .describe('Where it would go now; null: nowhere.'),
    event_type_version_now: version.nullable().describe('null: the type is not in use any more.'),
    differs: z.array(z.enum(DIFFERENCES)).describe('What is not as it was then.'),
  })
  .meta({ id: 'InspectedDeadLetter' })

/** Which texts a delivery that is sent again is made from. */
export const template = z
  .enum(['same', 'current'])
  .default('same')
  .describe('`same`: the version that was used before, where there was one. `current`: the one of today.')

/** A letter as it is answered. */
export const shownLetter = ({ id, ...letter }: DeadLetter): z.input<typeof deadLetterSchema> => ({
  ...letter,
  job_id: uuidOf(id),
  reason: partlyHidden(letter.reason),
})
