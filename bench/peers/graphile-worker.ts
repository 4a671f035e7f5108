import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker'
import pg from 'pg'
import type { OpenOptions, Payload, System } from '../systems/system.ts'

const silent = new Logger(() => () => {})
const TASK = 'job'
const CONCURRENCY = 50

export const prepare = (url: string): Promise<void> =>
  runMigrations({ connectionString: url, preset: { worker: { logger: silent } } })

export async function open({ url, settings }: OpenOptions): Promise<System> {
  const isTuned = settings.isTuned === true
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  pool.on('error', (error) => console.error(error))
  pool.on('connect', (client) => void client.on('error', (error) => console.error(error)))
  const utils = await makeWorkerUtils({ pgPool: pool, logger: silent })

  return {
    enqueueOne: (payload) => utils.addJob(TASK, payload),
    enqueueMany: (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: TASK, payload }))),

    async work(handler) {
      const runner = await run({
        pgPool: pool,
        noHandleSignals: true,
        preset: {
          worker: {
            logger: silent,
            concurrentJobs: CONCURRENCY,
            ...(isTuned && { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }),
          },
        },
        taskList: { [TASK]: (data) => handler(data as Payload) },
      })
      return { stop: () => runner.stop() }
    },

    async isDrained() {
      const { rows } = await pool.query('select 1 from graphile_worker._private_jobs limit 1')
      return rows.length === 0
    },

    async close() {
      await utils.release()
      await pool.end()
    },
  }
}
