import { fork, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Result } from 'autocannon'
import pg from 'pg'
import { payload } from '../systems/system.ts'
import type { Numbers, Task } from './measure.ts'
import { secondsSince } from './probe.ts'

const WARM_UP_SECONDS = 2
export const API_KEY = `sk_${'b'.repeat(40)}`

/** Events accepted a second over HTTP, or rows inserted a second by the bare route; same client, same body. */
export async function http(task: Task): Promise<Numbers> {
  const { connections, httpSeconds } = task.sizes
  const isBare = task.contestant.id === 'bare-fastify'
  const server = await startServer(isBare ? 'bare-fastify.ts' : 'eventcenter.ts', task.url, { ROLES: 'api' })
  await send(server.url, { connections, duration: WARM_UP_SECONDS })

  server.watch()
  const result = await send(server.url, { connections, duration: httpSeconds })
  const loop = await server.loop()
  await server.end()
  return { perSecond: result['2xx'] / result.duration, p50Ms: result.latency.p50, p99Ms: result.latency.p99, ...loop }
}

/** The whole way: accepted over HTTP, planned, stored, claimed, rendered, sent by the no-op channel, recorded. */
export async function pipeline(task: Task): Promise<Numbers> {
  const { connections, pipelined, warmUp } = task.sizes
  const server = await startServer('eventcenter.ts', task.url, {})
  const db = new pg.Client({ connectionString: task.url })
  await db.connect()
  await send(server.url, { connections, amount: warmUp })
  await allSent(db, warmUp)

  server.watch()
  const start = process.hrtime.bigint()
  const answered = Promise.withResolvers<void>()
  let answers = 0
  const sent = send(server.url, { connections, amount: pipelined }, () => {
    if (++answers === pipelined) answered.resolve()
  })
  // The client itself ends with its next full second.
  await Promise.race([answered.promise, sent])
  const acceptSeconds = secondsSince(start)
  await allSent(db, warmUp + pipelined)
  const seconds = secondsSince(start)
  const loop = await server.loop()
  await sent
  await db.end()
  await server.end()
  return { perSecond: pipelined / seconds, acceptedPerSecond: pipelined / acceptSeconds, ...loop }
}

async function allSent(db: pg.Client, count: number): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ sent: string; others: string }>(
      'select count(*) filter (where state = 2) as sent, count(*) filter (where state > 2) as others from delivery',
    )
    if (Number(rows[0]?.others) > 0) throw new Error('deliveries that were not sent')
    if (Number(rows[0]?.sent) === count) return
    await sleep(50)
  }
}

async function send(
  url: string,
  load: { connections: number; duration?: number; amount?: number },
  onAnswer?: () => void,
): Promise<Result> {
  const { default: autocannon } = await import('autocannon')
  const { n, text } = payload(7)
  const event = {
    event_id: `${randomUUID()}-[<id>]`,
    event_type: 'bench.job',
    source: 'bench',
    occurred_at: new Date().toISOString(),
    payload: { n, text, user_id: 'user-7' },
  }
  const running = autocannon({
    url: `${url}/api/v1/events`,
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${API_KEY}` },
    body: JSON.stringify(event),
    idReplacement: true,
    ...load,
  })
  running.on('response', (_client, status) => status < 300 && onAnswer?.())
  const result = await running
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${result.non2xx} refused, ${result.errors} errors`)
  return result
}

type Server = { url: string; watch: () => void; loop: () => Promise<Numbers>; end: () => Promise<void> }

/** A server in a process of its own, writing its log to nowhere. */
async function startServer(file: string, databaseUrl: string, env: Record<string, string>): Promise<Server> {
  const child = fork(path.join(import.meta.dirname, '../servers', file), {
    env: { PATH: process.env.PATH, ...env, DATABASE_URL: databaseUrl, API_KEYS: API_KEY },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const { url } = await message<{ url: string }>(child)
  return {
    url,
    watch: () => child.send('watch'),
    async loop() {
      child.send('loop')
      return message<Numbers>(child)
    },
    async end() {
      const exit = once(child, 'exit')
      child.send('end')
      await exit
    },
  }
}

async function message<Body>(child: ChildProcess): Promise<Body> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('the server ended')
  })
  ended.catch(() => {}) // it may end later, when nobody waits for a message
  const [body] = (await Promise.race([once(child, 'message'), ended])) as [Body]
  return body
}
