import { hash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import pg from 'pg'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db, Queryable, Send } from './db.ts'
import { CONNECT_TIMEOUT_MS, connectionConfig, type ConnectionOptions } from './connection-config.ts'
import { isConflict, isStalePlan, toAppError } from './database-errors.ts'
import { listen } from './listen.ts'

export type PoolOptions = ConnectionOptions & {
  maxConnections?: number
  /** Hears of connections that broke while nobody used them. */
  onError?: (error: Error) => void
}

const MAX_ATTEMPTS = 5
/** PostgreSQL ends a statement at its timeout; a connection that is silent for longer than that is dead. */
const SILENCE_MS = 5000

/**
 * What takes longer than this waits for a lock, a slow disk or a distant server, and nobody waits behind it. Of what is
 * quicker, two at a time would only take the processors from each other and from this process.
 */
const CLOSELY_MS = 5

/**
 * A pool of connections to PostgreSQL. Rejects with `unavailable` while the database is away or overloaded, waits at
 * most 3 s for a free connection, and repeats work that met a conflicting transaction.
 */
export function connect(target: string | pg.PoolConfig, options: PoolOptions = {}): Db {
  const { statementTimeoutMs = 10_000, onError = () => {} } = options
  const lost = new WeakSet<pg.ClientBase>()
  const pool = new pg.Pool({
    ...connectionConfig(target, { ...options, statementTimeoutMs }),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    max: options.maxConnections ?? 10,
    idleTimeoutMillis: 60_000,
    // Statements of one transaction that are given without waiting go out at once: the database runs one while the next
    // is being written.
    pipeline: true,
  })
  // `pg` emits this before it rejects what was running, and crashes the process when nobody listens.
  pool.on('connect', (client) => void client.on('error', () => lost.add(client)))
  // The pool does not wait for the last goodbyes, and a server that stops right after it interrupts them.
  pool.on('error', (error) => pool.ending || onError(error))
  const silenceMs = statementTimeoutMs === 0 ? undefined : statementTimeoutMs + SILENCE_MS

  /** The connection that statements share, and when those that run on it were given, the first one first. */
  let stream: { client: Promise<pg.PoolClient>; givenMs: number[] } | null = null

  const db: Db = {
    query: <Row>(sql: string, params?: readonly unknown[]) =>
      withRetries(() => withClient(async (client) => (await run(client, sql, params)).rows as Row[])),

    stream: {
      query: <Row>(sql: string, params?: readonly unknown[]) =>
        withRetries(() => onStream(async (client) => (await run(client, sql, params)).rows as Row[])),
    },

    transaction: (work) => withRetries(() => withClient((client) => transact(client, work))),

    pipeline: (work) => withRetries(() => withClient((client) => sendAll(client, work))),

    listen: (channel, onNotify, onConnect) => listen(target, { channel, onNotify, onConnect, onError }),

    async close() {
      if (!pool.ending) await pool.end()
    },
  }
  return db

  async function withClient<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const client = await take()
    try {
      return await work(client)
    } finally {
      give(client)
    }
  }

  async function onStream<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const nowMs = performance.now()
    if (!stream || nowMs - (stream.givenMs[0] ?? nowMs) > CLOSELY_MS) stream = { client: take(), givenMs: [] }
    const mine = stream
    mine.givenMs.push(nowMs)
    try {
      return await work(await mine.client)
    } catch (error) {
      // Its connection may be lost.
      if (stream === mine) stream = null
      throw error
    } finally {
      mine.givenMs.shift()
      if (mine.givenMs.length === 0) {
        if (stream === mine) stream = null
        mine.client.then(give, () => {})
      }
    }
  }

  async function take(): Promise<pg.PoolClient> {
    try {
      return await pool.connect()
    } catch (error) {
      throw toAppError(error, true)
    }
  }

  function give(client: pg.PoolClient): void {
    client.release(lost.has(client))
  }

  async function run(client: pg.PoolClient, sql: string, params?: readonly unknown[]): Promise<pg.QueryResult> {
    const watchdog = silenceMs === undefined ? undefined : setTimeout(() => abandon(client), silenceMs)
    try {
      // `pg` only reads the array.
      const values = params as unknown[] | undefined
      return await (values === undefined ? client.query(sql) : client.query({ ...nameOf(sql), text: sql, values }))
    } catch (error) {
      if (isFatal(error) || isStalePlan(error)) lost.add(client)
      throw toAppError(error, lost.has(client))
    } finally {
      clearTimeout(watchdog)
    }
  }

  async function transact<Result>(client: pg.PoolClient, work: (tx: Queryable) => Promise<Result>): Promise<Result> {
    let isOver = false
    let failure: unknown
    const tx: Queryable = {
      async query<Row>(sql: string, params?: readonly unknown[]) {
        if (isOver) throw new Error('The transaction is over') // its connection may serve another one by now
        try {
          return (await run(client, sql, params)).rows as Row[]
        } catch (error) {
          failure = error
          throw error
        }
      },
    }
    try {
      await run(client, 'begin')
      const result = await work(tx)
      isOver = true
      const { command } = await run(client, 'commit')
      // When a statement failed and `work` caught that, PostgreSQL answers the commit with a rollback and no error.
      if (command !== 'COMMIT') throw failure
      return result
    } catch (error) {
      isOver = true
      if (!lost.has(client)) await run(client, 'rollback').catch(() => lost.add(client))
      throw error
    }
  }

  async function sendAll<Result>(
    client: pg.PoolClient,
    work: (send: Send) => Result | Promise<Result>,
  ): Promise<Result> {
    const sent: Promise<unknown>[] = []
    const give = (sql: string, params?: readonly unknown[]): void => {
      const answer = run(client, sql, params)
      answer.catch(() => {}) // it is heard at the end
      sent.push(answer)
    }
    // Without a transaction around them, they would be kept one by one.
    let early: Parameters<Send>[] | null = []
    const begin = async (): Promise<void> => {
      await run(client, 'begin')
      for (const statement of early ?? []) give(...statement)
      early = null
    }
    const begun = begin()
    begun.catch(() => {}) // it is awaited when `work` is over
    let isOver = false
    try {
      const result = await work((sql, params) => {
        if (isOver) throw new Error('The transaction is over')
        // What `pg` cannot write it does not send, and the commit would follow nevertheless.
        if (params?.some(isObject)) throw new TypeError('Objects are to be given as JSON text')
        if (early) early.push([sql, params])
        else give(sql, params)
      })
      isOver = true
      await begun
      give('commit') // of what failed, PostgreSQL makes a rollback
      const answers = await Promise.allSettled(sent)
      for (const answer of answers) if (answer.status === 'rejected') throw answer.reason
      return result
    } catch (error) {
      early = []
      await begun.catch(() => {})
      if (!lost.has(client)) await run(client, 'rollback').catch(() => lost.add(client))
      throw error
    }
  }

  function abandon(client: pg.PoolClient): void {
    lost.add(client)
    // A goodbye would wait for the statement. The types hide the connection.
    ;(client as unknown as { connection: { stream: Duplex } }).connection.stream.destroy()
  }
}

const names = new Map<string, { name: string }>()
/** Lists that put their conditions together have a few hundred texts; a caller that makes more is not served this way. */
const MAX_NAMES = 1000

/** Statements with parameters are prepared once per connection: planning a large one costs more than running it. */
function nameOf(sql: string): { name: string } | undefined {
  const known = names.get(sql)
  if (known || names.size >= MAX_NAMES) return known
  const name = { name: hash('sha256', sql).slice(0, 32) }
  names.set(sql, name)
  return name
}

/** Again, a little later and not in step with the other one, while the work meets conflicting transactions. */
async function withRetries<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !isConflict(error)) throw error
      await sleep(Math.random() * 10 * 2 ** attempt)
    }
  }
}

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array)

const isFatal = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && (error.severity === 'FATAL' || error.severity === 'PANIC')
