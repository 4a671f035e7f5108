import pg from 'pg'
import { connect } from '../../src/db/pool.ts'
import type { OpenOptions, Payload, System } from './system.ts'

export async function prepare(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('create table alone (n bigint generated always as identity primary key, body text not null)')
  await client.end()
}

/** One row on disk, and the handler starts: the least that a queue can take which keeps its promise on this machine. */
export async function open({ url }: OpenOptions): Promise<System> {
  const db = connect(url, { maxConnections: 10 })
  let handle: ((payload: Payload) => void) | undefined

  const enqueueOne = async (payload: Payload): Promise<void> => {
    await db.query('insert into alone (body) values ($1)', [JSON.stringify(payload)])
    handle?.(payload)
  }
  return {
    enqueueOne,
    enqueueMany: (payloads) => Promise.all(payloads.map(enqueueOne)),
    async work(handler) {
      handle = handler
      return { stop: async () => {} }
    },
    isDrained: async () => true,
    close: () => db.close(),
  }
}
