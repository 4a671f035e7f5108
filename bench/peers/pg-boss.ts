import pg from 'pg'
import { PgBoss } from 'pg-boss'
import type { OpenOptions, Payload, System } from '../systems/system.ts'

const QUEUES = { notifying: 'job', polling: 'job-polling' }

export async function prepare(url: string): Promise<void> {
  const boss = new PgBoss({ connectionString: url })
  await boss.start()
  await boss.createQueue(QUEUES.notifying, { notify: true, partition: true })
  await boss.createQueue(QUEUES.polling, { partition: true })
  await boss.stop({ graceful: false })
}

export async function open({ url, settings }: OpenOptions): Promise<System> {
  const listens = settings.listens === true
  const batchSize = Number(settings.batchSize)
  const queue = listens ? QUEUES.notifying : QUEUES.polling
  const boss = new PgBoss({ connectionString: url, max: 10, useListenNotify: listens, schedule: false })
  boss.on('error', (error: unknown) => console.error(error))
  await boss.start()
  const pool = new pg.Pool({ connectionString: url, max: 1 })

  return {
    enqueueOne: (payload) => boss.send(queue, payload),
    enqueueMany: (payloads) =>
      boss.insert(
        queue,
        payloads.map((data) => ({ data })),
      ),

    async work(handler) {
      const options = { batchSize, localConcurrency: 2, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
      await boss.work<Payload>(queue, options, async (jobs) => {
        for (const { data } of jobs) handler(data)
      })
      return { stop: () => boss.offWork(queue) }
    },

    async isDrained() {
      const { rows } = await pool.query(`select 1 from pgboss.job where name = $1 and state < 'completed' limit 1`, [
        queue,
      ])
      return rows.length === 0
    },

    async close() {
      await boss.stop({ graceful: false })
      await pool.end()
    },
  }
}
