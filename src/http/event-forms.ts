import { z } from 'zod'
import { MAX_DEDUPE_WINDOW_SECONDS } from '../core/event-options.ts'
import { LEVELS, type Event } from '../core/event.ts'
import { safeUrl } from '../core/safe-url.ts'
import type { Json } from '../core/json.ts'
import type { Incoming } from '../pipeline/accept.ts'
import { time as timeText } from './time.ts'
import { parse } from './validation.ts'

/** Text that people see: no control characters but line breaks and tabs, and none that reorder the text around them. */
const words = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => text.isWellFormed(), 'must not hold half a character (lone surrogate)')
    .refine((text) => !FORBIDDEN.test(text), 'must not hold control or text-reordering characters')

const line = (max: number) => words(max).refine((text) => !/[\r\n\t]/.test(text), 'must be one line')

// eslint-disable-next-line no-control-regex -- these are what must not come in
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u202a-\u202e\u2066-\u2069]/

/** Clients take `.` and `..` out of an address, so that nobody could ask what became of such an event, or cancel it. */
const eventId = line(200).refine((id) => id !== '.' && id !== '..', 'must not be "." or "..": no address could name it')
const userId = z.union([line(200), z.int()]).transform(String)
const time = timeText.transform((text) => new Date(text).toISOString())
/** JSON it is already, as it came in a body, but a number too large for any program was read as infinite. */
const isFiniteThroughout = (value: unknown): boolean => {
  if (typeof value === 'number') return Number.isFinite(value)
  return typeof value !== 'object' || value === null || Object.values(value).every(isFiniteThroughout)
}
const json = z.unknown().refine(isFiniteThroughout, 'holds a number that is too large') as z.ZodType<Json>
const data = z.record(z.string(), json)

const cta = z.strictObject({
  label: line(100),
  url: z
    .string()
    .max(2048)
    .transform((url, context) => {
      const safe = safeUrl(url)
      if (safe === null)
        context.addIssue({
          code: 'custom',
          message: 'expected an http, https, mailto or tel URL, or a path of this site',
        })
      return safe ?? ''
    }),
})

const initiatedBy = z.strictObject({ user_id: userId, role: line(100).optional(), channel: line(100).optional() })

/** What every form may add to say how the event is delivered. */
const delivery = {
  channels: z.array(line(50)).min(1).max(20).optional(),
  send_after: time.optional(),
  expires_at: time.optional(),
  collapse_key: line(200).optional(),
  cancellation_key: line(200).optional(),
  ordering_key: line(255).optional(),
  dedupe_key: line(255).optional(),
  dedupe_window_seconds: z.int().min(1).max(MAX_DEDUPE_WINDOW_SECONDS).optional(),
  initiated_by: initiatedBy.optional(),
}

export const universalForm = z
  .strictObject({
    id: eventId.optional(),
    user_id: userId,
    type: line(100),
    title: line(300),
    body: words(10_000),
    level: z.enum(LEVELS).optional(),
    cta: cta.optional(),
    data: data.optional(),
    created_at: time.optional(),
    ...delivery,
  })
  .meta({ id: 'UniversalEvent', description: 'One event for one person, with its words.' })

export const domainForm = z
  .strictObject({
    event_id: eventId,
    event_type: line(100),
    source: line(200),
    occurred_at: time,
    payload: data,
    ...delivery,
  })
  .meta({
    id: 'DomainEvent',
    description: 'What happened in another service; the event type says who is told and how.',
  })

/** Extension attributes are allowed by the specification (CloudEvents 1.0, section 3.1) and kept out of sight. */
export const cloudEventForm = z
  .looseObject({
    specversion: z.literal('1.0'),
    id: line(200),
    source: line(1000),
    type: line(100),
    time: time.optional(),
    subject: line(1000).optional(),
    datacontenttype: z.literal('application/json').optional(),
    dataschema: line(2048).optional(),
    data,
  })
  .meta({ id: 'CloudEvent', description: 'CloudEvents 1.0, structured JSON.' })

/**
 * Reads an event in any of its forms, told apart by their fields: `specversion` is a CloudEvent's, `event_type` the
 * domain form's, anything else is the universal form. Throws `AppError('invalid')` naming every field at fault.
 */
export function readEvent(body: unknown): Incoming {
  const members = body !== null && typeof body === 'object' ? body : {}
  if ('specversion' in members) return fromCloudEvent(parse(cloudEventForm, body), body as Json)
  if ('event_type' in members) return fromDomain(parse(domainForm, body), body as Json)
  return fromUniversal(parse(universalForm, body), body as Json)
}

// Absent members of a body are absent in what was read of it, never undefined, which the types cannot say.
function fromUniversal({ created_at: occurredAt, ...event }: z.output<typeof universalForm>, body: Json): Incoming {
  return {
    event: { ...event, data: event.data ?? {}, ...(occurredAt !== undefined && { occurred_at: occurredAt }) } as Event,
    body,
    names: { type: 'type', data: 'data' },
  }
}

function fromDomain(form: z.output<typeof domainForm>, body: Json): Incoming {
  const { event_id: id, event_type: type, payload, ...rest } = form
  return { event: { ...rest, id, type, data: payload } as Event, body, names: { type: 'event_type', data: 'payload' } }
}

/** A CloudEvent is identified by source and id together (CloudEvents 1.0, section 3.1.1). */
function fromCloudEvent(
  { id, source, type, time: occurredAt, data }: z.output<typeof cloudEventForm>,
  body: Json,
): Incoming {
  return {
    event: {
      id: cloudEventId(source, id),
      type,
      source,
      data,
      ...(occurredAt !== undefined && { occurred_at: occurredAt }),
    },
    body,
    names: { type: 'type', data: 'data' },
  }
}

/**
 * `source#id`. Where the source holds a `#` itself, nobody could say where it ends: its length goes first then, and the
 * `#` before that is how no other source begins, as none is empty.
 */
const cloudEventId = (source: string, id: string): string =>
  source.includes('#') ? `#${source.length}#${source}#${id}` : `${source}#${id}`
