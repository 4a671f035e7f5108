import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError, invalidField } from '../core/errors.ts'
import { LEVELS } from '../core/event.ts'
import { idOfUuid } from '../core/id.ts'
import type { Notification } from '../core/notification.ts'
import { changeInbox, changeWholeInbox } from '../pipeline/change-inbox.ts'
import type { Ports } from '../ports.ts'
import type { Change } from '../store/change-notifications.ts'
import {
  changesSince,
  type Cursor,
  findNotification,
  listNotifications,
  NOTIFICATION_STATUSES,
  type Owner,
  unreadCount,
} from '../store/notification.ts'
import { userCaller } from './access.ts'
import { cursorParts, cursorText, isCursorTime, pageOf, pageQuery } from './page.ts'
import { time } from './time.ts'

/** The personal account: what a user was told, and what he did with it. */
export const notificationRoutes =
  (ports: AccountPorts): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Personal account']
    const config = { access: 'user' } as const

    app.get('/api/v1/notifications', {
      config,
      schema: {
        tags,
        summary: 'The inbox, the history, or what changed since a `seq`',
        description:
          'Newest first. With `since`, instead: changes of the inbox after that `seq`, oldest first; `seq` is what to ask ' +
          'from next time. When `reset` is true there was too much to tell: load the list anew.',
        querystring: listQuery,
        response: { 200: z.union([pageOf(notificationSchema), changesSchema]) },
      },
      handler: async (request) => {
        const { status, type, after, limit, since } = request.query
        if (since !== undefined) return changes(ports, ownerOf(request), since)
        const page = await listNotifications(ports.db, ownerOf(request), {
          status,
          limit,
          ...(type !== undefined && { type }),
          ...(after !== undefined && { after: cursorOf(after) }),
        })
        return { items: page.items, next: page.next && cursorText([page.next.shownAt, page.next.id]) }
      },
    })

    app.get('/api/v1/notifications/unread-count', {
      config,
      schema: { tags, summary: 'The number on the bell', response: { 200: z.object({ unread_count: z.int() }) } },
      handler: async (request) => ({ unread_count: await unreadCount(ports.db, ownerOf(request)) }),
    })

    app.get('/api/v1/notifications/:id', {
      config,
      schema: { tags, summary: 'One notification', params: idParams, response: { 200: notificationSchema } },
      handler: async (request) => found(await findNotification(ports.db, ownerOf(request), rowIdOf(request.params.id))),
    })

    for (const [change, summary] of SIMPLE_CHANGES) {
      app.post(`/api/v1/notifications/:id/${change}`, {
        config,
        schema: { tags, summary, params: idParams, response: { 200: notificationSchema } },
        handler: async (request) => changed(ports, request, request.params.id, { change }),
      })
    }

    app.post('/api/v1/notifications/:id/snooze', {
      config,
      schema: {
        tags,
        summary: 'Hide it until a time, when it comes back unread',
        params: idParams,
        body: z.strictObject({
          until: time.nullable().describe('null: bring it back now.'),
        }),
        response: { 200: notificationSchema },
      },
      handler: async (request) => {
        const { until } = request.body
        if (until !== null && !isWithinAYear(until)) throw invalidField('until', 'expected a time within the next year')
        return changed(ports, request, request.params.id, { change: 'snooze', until })
      },
    })

    for (const [change, summary] of [
      ['read', 'Mark all in the inbox as read, or a part of it'],
      ['seen', 'Mark all in the inbox as seen, or a part of it'],
    ] as const) {
      app.post(`/api/v1/notifications/${change}-all`, {
        config,
        schema: { tags, summary, body: selectionBody, response: { 200: z.object({ changed: z.int() }) } },
        handler: async (request) => {
          const { before, type } = request.body
          const selection = { ...(before !== undefined && { shownUntil: before }), ...(type !== undefined && { type }) }
          return { changed: await changeWholeInbox(ports, ownerOf(request), change, selection) }
        },
      })
    }
  }

type AccountPorts = Pick<Ports, 'db' | 'bus' | 'log'>

const changed = async (
  ports: AccountPorts,
  request: FastifyRequest,
  id: string,
  change: Change,
): Promise<Notification> => found(await changeInbox(ports, ownerOf(request), rowIdOf(id), change))

const SIMPLE_CHANGES = [
  ['read', 'Mark as read'],
  ['unread', 'Mark as unread'],
  ['seen', 'Mark as seen: it was on the screen'],
  ['archive', 'Take out of the inbox'],
  ['unarchive', 'Put back into the inbox'],
] as const

/** A notification as the API answers it (src/core/notification.ts). */
export const notificationSchema = z
  .object({
    id: z.string(),
    type: z.string(),
    title: z.string(),
    message: z.string(),
    event_id: z.string(),
    level: z.enum(LEVELS),
    cta: z.object({ label: z.string(), url: z.string() }).nullable(),
    data: z.record(z.string(), z.unknown()),
    seq: z.int().nullable().describe('Its last change in the inbox; null: it is in the history only.'),
    is_read: z.boolean(),
    is_seen: z.boolean(),
    is_archived: z.boolean(),
    snoozed_until: z.string().nullable(),
    created_at: z.string().describe('When it was shown.'),
  })
  .meta({ id: 'Notification' })

const changesSchema = z.object({ items: z.array(notificationSchema), seq: z.int(), reset: z.boolean() })

const idParams = z.strictObject({ id: z.string() })

const listQuery = z
  .strictObject({
    ...pageQuery,
    status: z.enum(NOTIFICATION_STATUSES).default('inbox'),
    type: z.string().max(200).optional(),
    since: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  })
  .refine(({ since, after }) => since === undefined || after === undefined, {
    path: ['since'],
    message: 'asks for changes, `after` for a page: send one of them',
  })

const selectionBody = z
  .strictObject({
    before: time.optional().describe('Only what was shown until then.'),
    type: z.string().max(200).optional(),
  })
  .default({})

/** Who asks: the token says it, nothing in the request does. */
function ownerOf(request: FastifyRequest): Owner {
  const { companyId, userId } = userCaller(request)
  return { companyId, userId }
}

const MAX_CHANGES = 100

async function changes({ db }: Pick<Ports, 'db'>, owner: Owner, since: number): Promise<z.infer<typeof changesSchema>> {
  const { items, head, isComplete } = await changesSince(db, owner, since, MAX_CHANGES)
  return { items: isComplete ? items : [], seq: head, reset: !isComplete }
}

function cursorOf(text: string): Cursor {
  const [shownAt = '', id = ''] = cursorParts(text, [isCursorTime, isRowId])
  return { shownAt, id }
}

/** Another user's notification, one that never was, and what is no id at all get the same answer. */
function found(notification: Notification | null): Notification {
  if (notification) return notification
  throw new AppError('not-found', 'You have no notification with this id')
}

const rowIdOf = (id: string): string => idOfUuid(id) ?? NO_ROW

const isRowId = (text: string): boolean => /^\d{1,18}$/.test(text)

/** No row has it: ids grow from a positive start. */
const NO_ROW = '0'

const YEAR_MS = 366 * 24 * 3600 * 1000
const isWithinAYear = (time: string): boolean => {
  const ms = Date.parse(time) - Date.now()
  return ms > 0 && ms < YEAR_MS
}
