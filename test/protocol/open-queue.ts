import { randomUUID } from 'node:crypto'
import { AppError } from '../../src/core/errors.ts'
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

/** A connection that may break. */
export type Line = {
  db: Queryable
  /** Commits the claim that `work` asks for, and loses the answer; waits for what is done about it. Rejects as `work` does. */
  losing: <Output>(work: () => Promise<Output>) => Promise<Output>
}

export function lineTo({ db }: VirtualTime): Line {
  const running = new Set<Promise<unknown>>()
  let isBroken = false

  async function query<Row>(sql: string, params?: readonly unknown[]): Promise<Row[]> {
    const isLost = isBroken && /insert into lease/.test(sql)
    if (isLost) isBroken = false
    const answer = db.query<Row>(sql, params)
    running.add(answer)
    const rows = await answer.finally(() => running.delete(answer))
    if (isLost) throw new AppError('unavailable', 'The connection broke')
    return rows
  }

  return {
    db: { query },
    async losing(work) {
      isBroken = true
      try {
        return await work()
      } finally {
        isBroken = false
        while (running.size > 0) await Promise.allSettled(running)
      }
    },
  }
}
