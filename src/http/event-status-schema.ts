import { z } from 'zod'

const STATUSES = [
  'PENDING',
  'SENDING',
  'RETRYING',
  'UNCERTAIN',
  'SENT',
  'FAILED',
  'EXPIRED',
  'SKIPPED',
  'CANCELLED',
] as const

const delivery = z.object({
  job_id: z.string(),
  notification_id: z.string(),
  user_id: z.string(),
  channel: z.string(),
  status: z.enum(STATUSES),
  attempts_count: z.number().int(),
  run_at: z.string().nullable().describe('When it is tried next, while it waits'),
  waits_for_turn: z.boolean().describe('An earlier event with its ordering key has not come to its end'),
  expires_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  reason: z
    .string()
    .nullable()
    .describe('Why it is so; `account_stopped`: the provider takes nothing now, and it waits until `run_at`'),
  provider_id: z.string().nullable(),
  attempts: z
    .array(z.object({ n: z.number().int(), at: z.string(), verdict: z.string(), message: z.string() }))
    .describe('Attempts that did not end in SENT'),
})

/** The answer of `GET /api/v1/events/{id}`. */
export const eventStatusSchema = z
  .object({
    event_id: z.string(),
    type: z.string(),
    type_version: z.number().int(),
    status: z.enum(['accepted', 'cancelled']),
    created_at: z.string(),
    cancelled_at: z.string().nullable(),
    jobs_count: z.number().int().nullable(),
    channels_from: z.enum(['event', 'event_type']).describe('Who chose the channels'),
    event: z.record(z.string(), z.json()),
    notifications: z.array(
      z.object({
        id: z.string(),
        user_id: z.string(),
        is_seen: z.boolean(),
        is_read: z.boolean(),
      }),
    ),
    deliveries: z.array(delivery),
    not_told: z
      .array(z.object({ user_id: z.string().nullable(), channel: z.string().nullable(), reason: z.string() }))
      .describe('Who, or which channel, was left out, and why'),
  })
  .meta({ id: 'EventStatus' })

export type EventStatus = z.infer<typeof eventStatusSchema>
