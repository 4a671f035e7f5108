import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import type { OpenOptions, Payload, System } from '../systems/system.ts'

const QUEUE = 'job'
const JOB_OPTIONS = { removeOnComplete: true }
const CONCURRENCY = 50

export async function open({ url }: OpenOptions): Promise<System> {
  const connect = (): Redis => new Redis(url, { maxRetriesPerRequest: null })
  const connections = [connect(), connect()] as const
  const queue = new Queue<Payload>(QUEUE, { connection: connections[0], defaultJobOptions: JOB_OPTIONS })
  await queue.waitUntilReady()

  return {
    enqueueOne: (payload) => queue.add('job', payload),
    enqueueMany: (payloads) => queue.addBulk(payloads.map((data) => ({ name: 'job', data }))),

    async work(handler) {
      const worker = new Worker<Payload>(QUEUE, async ({ data }) => handler(data), {
        connection: connections[1],
        concurrency: CONCURRENCY,
      })
      worker.on('error', (error) => console.error(error))
      await worker.waitUntilReady()
      return { stop: () => worker.close() }
    },

    async isDrained() {
      const counts = await queue.getJobCounts('wait', 'active', 'delayed', 'prioritized')
      return Object.values(counts).every((count) => count === 0)
    },

    async close() {
      await queue.close()
      for (const connection of connections) connection.disconnect()
    },
  }
}
