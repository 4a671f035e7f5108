import { connect } from '../../src/db/pool.ts'
import { idGenerator } from '../../src/core/id.ts'
import { metrics } from '../../src/metrics.ts'
import { accept } from '../../src/pipeline/accept.ts'
import { postgresQueue } from '../../src/queue/postgres.ts'
import { acceptStatement } from '../../src/store/accept-statement.ts'
import type { EventRows } from '../../src/store/event-rows.ts'
import { eventTypes } from '../../src/store/event-types.ts'
import { incoming } from './eventcenter.ts'
import { noop } from './noop-channel.ts'
import { payload, type OpenOptions, type System } from './system.ts'

export { prepare } from './eventcenter.ts'

type Statement = ReturnType<typeof acceptStatement>

/**
 * What PostgreSQL and its driver take for the rows of EventCenter: the statements are made before the clock starts, so
 * nothing is read, checked, planned or written down by this process while it runs. Stores, and does nothing else.
 */
export async function open({ url, settings }: OpenOptions): Promise<System> {
  const together = Number(settings.together)
  const db = connect(url, { maxConnections: 10 })
  const statements = await statementsFor(Number(settings.events), together)
  let waiting: PromiseWithResolvers<void>[] = []

  function next(): Statement {
    const statement = statements.pop()
    if (!statement) throw new Error('more is measured than was made ready')
    return statement
  }

  async function flush(): Promise<void> {
    const group = waiting
    waiting = []
    try {
      const { sql, params } = next()
      await db.stream.query(sql, params)
      for (const { resolve } of group) resolve()
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }

  return {
    enqueueOne() {
      const stored = Promise.withResolvers<void>()
      waiting.push(stored)
      if (waiting.length === together) void flush()
      return stored.promise
    },

    enqueueMany: ({ length }) =>
      db.pipeline((send) => {
        for (let stored = 0; stored < length; stored += together) {
          const { sql, params } = next()
          send(sql, params)
        }
      }),

    work: () => Promise.reject(new Error('it only stores')),
    isDrained: () => Promise.reject(new Error('it only stores')),
    close: () => db.close(),
  }

  /** As `accept` plans them. */
  async function statementsFor(events: number, perStatement: number): Promise<Statement[]> {
    const nextId = idGenerator(() => process.pid % 256)
    const queue = postgresQueue({ db, nextId, workerId: '', leaseSeconds: 30, isShared: false })
    const channel = noop.open({}, {} as Parameters<typeof noop.open>[1])
    const planned: EventRows[] = []
    const accepts = { store: async (rows: EventRows) => planned.push(rows) > 0 }
    const channels = new Map([[channel.name, channel]])
    const ports = { db, queue, accepts, eventTypes: eventTypes({ db }), channels, nextId, metrics: metrics() }
    for (let n = 0; n < events; n++) await accept(ports, '', incoming(payload(n)))
    await queue.close()

    const made: Statement[] = []
    while (planned.length > 0) {
      made.push(acceptStatement({ events: planned.splice(0, perStatement), mayRepeat: false }))
    }
    return made.toReversed()
  }
}
