import { AppError } from '../core/errors.ts'
import type { EventType, EventTypeDefinition } from '../core/event-type.ts'
import type { Queryable } from '../db/db.ts'

/** A stored version, with the time it was made. */
export type StoredEventType = EventType & { created_at: string }

type Row = { id: string; company_id: string; version: number; definition: EventTypeDefinition; created_at: string }

const COLUMNS = 'id, company_id, version, definition, created_at'
const typeOf = ({ definition, ...row }: Row): StoredEventType => ({ ...definition, ...row })
const firstOf = (rows: readonly Row[]): StoredEventType | null => (rows[0] ? typeOf(rows[0]) : null)

/** Registers a type. Throws `conflict` when the company has it already. */
export async function insertEventType(
  db: Queryable,
  companyId: string,
  definition: EventTypeDefinition,
): Promise<StoredEventType> {
  const rows = await db.query<Row>(
    `insert into event_type (company_id, type, version, definition)
     select $1, $2, coalesce(max(version), 0) + 1, $3::text::jsonb from event_type where company_id = $1 and type = $2
     having not coalesce(bool_or(is_current), false)
     on conflict do nothing
     returning ${COLUMNS}`,
    [companyId, definition.type, JSON.stringify(definition)],
  )
  const stored = firstOf(rows)
  if (!stored) throw new AppError('conflict', `There is already an event type "${definition.type}"`)
  return stored
}

/** Makes the next version; null when the company has no such type, or it is no longer at `ifVersion`. */
export async function updateEventType(
  db: Queryable,
  companyId: string,
  definition: EventTypeDefinition,
  ifVersion: number | null = null,
): Promise<StoredEventType | null> {
  const rows = await db.query<Row>(
    `with old as (
       update event_type set is_current = false
       where company_id = $1 and type = $2 and is_current and ($4::integer is null or version = $4)
       returning *
     )
     insert into event_type (company_id, type, version, definition)
     select company_id, type, version + 1, $3::text::jsonb from old
     returning ${COLUMNS}`,
    [companyId, definition.type, JSON.stringify(definition), ifVersion],
  )
  return firstOf(rows)
}

/** Registers a type or makes its next version. */
export async function putEventType(db: Queryable, companyId: string, definition: EventTypeDefinition): Promise<void> {
  await db.query(
    `with old as (
       update event_type set is_current = false where company_id = $1 and type = $2 and is_current returning version
     )
     insert into event_type (company_id, type, version, definition)
     select $1, $2, 1 + coalesce(
       (select version from old), (select max(version) from event_type where company_id = $1 and type = $2), 0), $3::text::jsonb`,
    [companyId, definition.type, JSON.stringify(definition)],
  )
}

/** Takes a type out of use. What was accepted before goes on. False when the company has no such type. */
export async function deleteEventType(db: Queryable, companyId: string, type: string): Promise<boolean> {
  const rows = await db.query(
    'update event_type set is_current = false where company_id = $1 and type = $2 and is_current returning id',
    [companyId, type],
  )
  return rows.length > 0
}

/** The company's own current definition, else the platform's. */
export const findEventType = async (db: Queryable, companyId: string, type: string): Promise<StoredEventType | null> =>
  firstOf(
    await db.query<Row>(
      `select ${COLUMNS} from event_type where company_id in ($1, '') and type = $2 and is_current
       order by company_id desc limit 1`,
      [companyId, type],
    ),
  )

/** Current types that the company may see, by id; one that it has made its own hides the platform's. */
export const listEventTypes = async (
  db: Queryable,
  companyId: string,
  { after, limit }: { after: string | null; limit: number },
): Promise<StoredEventType[]> =>
  (
    await db.query<Row>(
      `select ${COLUMNS} from event_type shown
       where company_id in ($1, '') and is_current and id > coalesce($2::bigint, 0)
         and (company_id = $1 or not exists (
           select from event_type own where own.company_id = $1 and own.type = shown.type and own.is_current))
       order by id limit $3`,
      [companyId, after, limit],
    )
  ).map(typeOf)

/** One version, also when it is no longer current. */
export const eventTypeVersion = async (db: Queryable, id: string): Promise<StoredEventType | null> =>
  firstOf(await db.query<Row>(`select ${COLUMNS} from event_type where id = $1`, [id]))

/** Changes whenever any type is registered, changed or deleted; ids may be committed out of order. */
export async function eventTypesMark(db: Queryable): Promise<string> {
  const [row] = await db.query<{ mark: string }>(
    `select concat_ws(':', max(id), count(*), sum(id)) as mark from event_type where is_current`,
  )
  return row?.mark ?? ''
}
