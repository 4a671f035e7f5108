import { randomUUID } from 'node:crypto'
import type { Queryable } from '../../src/db/db.ts'
import { postgresQueue } from '../../src/queue/postgres.ts'
import type { Queue } from '../../src/queue/queue.ts'
import { LEASE_SECONDS, RESEND_AFTER_SECONDS } from './model.ts'
import type { VirtualTime } from './virtual-time.ts'

/** One process's view of the queue; with `within`, one whose statements are not committed yet. */
export const openQueue = ({ db, nowMs }: VirtualTime, nextId: () => string, within: Queryable = db): Queue =>
  postgresQueue({
    db: { ...db, query: <Row>(sql: string, params?: readonly unknown[]) => within.query<Row>(sql, params) },
    nextId,
    workerId: randomUUID(),
    leaseSeconds: LEASE_SECONDS,
    resendAfterSeconds: RESEND_AFTER_SECONDS,
    clockMs: nowMs,
  })
