import { z } from 'zod'
import { LEVELS, PRIORITIES } from './event.ts'
import { MAX_DEDUPE_WINDOW_SECONDS } from './event-options.ts'
import type { EventTypeDefinition } from './event-type.ts'
import { schemaFaults } from './payload-schema.ts'

/** A week longer than a year: what is older than that nobody waits for. */
const MAX_TIME_TO_LIVE_SECONDS = 372 * 86_400

/** Parts of letters, digits, `_` and `-`, joined by dots: `job.done`, `booking_created`. Also of template codes. */
export const typeName = z
  .string()
  .max(100)
  .regex(/^[a-z\d]+(?:[._-][a-z\d]+)*$/i, 'expected letters and digits, joined by single dots, dashes or underscores')

export const channelName = z
  .string()
  .max(50)
  .regex(/^[a-z][a-z\d_-]*$/, 'expected the name of a channel, such as email')

const path = (start: string, hint: string) =>
  z
    .string()
    .max(200)
    .regex(new RegExp(`^(?:${start}data(?:\\.[A-Za-z_][\\w-]*){1,6})$`), hint)

const channels = z
  .array(channelName)
  .max(20)
  .refine((names) => new Set(names).size === names.length, 'names a channel twice')

/** An event type as the API and `catalog/` write it; nothing else is allowed in it. */
export const eventTypeDefinition = z
  .strictObject({
    type: typeName,
    description: z.string().max(1000).exactOptional(),
    schema: z
      .record(z.string(), z.json())
      .exactOptional()
      .describe('JSON Schema (draft 2020-12 or draft-07) of `data`, called `payload` in the domain form.'),
    recipients: z
      .strictObject({
        path: path('user_id|', 'expected `user_id` or a path such as `data.user_ids`').describe(
          'The member of the event that holds one user id or a list of them.',
        ),
        include_initiator: z.boolean().exactOptional().describe('Also tell the one who caused the event.'),
      })
      .describe('Who is told.'),
    channels: channels.min(1).describe('Used where the event names none. Those not installed are left out.'),
    allowed_channels: channels
      .min(1)
      .exactOptional()
      .describe('An event that asks for another channel is refused. Absent: all channels are allowed.'),
    template_code: typeName.exactOptional().describe('Of its templates; the name of the type unless given.'),
    level: z.enum(LEVELS).exactOptional(),
    lane: z.enum(['p2p', 'broadcast']).exactOptional(),
    priority: z.enum(Object.keys(PRIORITIES) as (keyof typeof PRIORITIES)[]).exactOptional(),
    category: z.string().min(1).max(100).exactOptional(),
    collapse_path: path('', 'expected a path such as `data.job_id`')
      .exactOptional()
      .describe('Later events with the same value there replace the earlier notification.'),
    dedupe_path: path('', 'expected a path such as `data.order_id`')
      .exactOptional()
      .describe(
        'Within the window, later events with the same value there are answered with the first one, and not sent.',
      ),
    dedupe_window_seconds: z
      .int()
      .min(1)
      .max(MAX_DEDUPE_WINDOW_SECONDS)
      .exactOptional()
      .describe('Of events with a dedupe key; a day unless given.'),
    ordering_path: path('', 'expected a path such as `data.thread_id`')
      .exactOptional()
      .describe(
        'Events with the same value there are sent to one person one after another, in the order in which they came.',
      ),
    is_silent: z.boolean().exactOptional().describe('Shown in the inbox without counting as unread.'),
    time_to_live_seconds: z.int().min(1).max(MAX_TIME_TO_LIVE_SECONDS).exactOptional(),
  })
  .superRefine(({ schema, channels, allowed_channels: allowed }, context) => {
    for (const { field, message } of schema ? schemaFaults(schema) : []) {
      context.addIssue({ code: 'custom', path: [field], message })
    }
    for (const [index, name] of channels.entries()) {
      if (!allowed || allowed.includes(name)) continue
      context.addIssue({ code: 'custom', path: ['channels', index], message: `${name} is not among allowed_channels` })
    }
  }) satisfies z.ZodType<EventTypeDefinition>
