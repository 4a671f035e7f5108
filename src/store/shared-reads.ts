import type { Queryable } from '../db/db.ts'

/**
 * For reads only: those that ask for the same while one of them is running get its answer. Deliveries of one claim are
 * often of one event type, and ask for the same template.
 */
export function sharedReads(db: Queryable): Queryable {
  const running = new Map<string, Promise<unknown[]>>()

  return {
    query<Row>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
      const key = JSON.stringify([sql, params])
      const known = running.get(key)
      if (known) return known as Promise<Row[]>
      const asked = db.query<Row>(sql, params).finally(() => running.delete(key))
      running.set(key, asked)
      return asked
    },
  }
}
