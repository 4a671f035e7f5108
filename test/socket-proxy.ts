import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What one connection carried since the text that was waited for: from the client, and back. */
export type Carried = { asked: number; answered: number }

/** Stands between a process and a PostgreSQL, to do what networks do. */
export type SocketProxy = {
  url: string
  /** Carries nothing more, in silence. */
  freeze: () => void
  /** From the first request with this text on: carries what is asked and loses all answers, until `cut`. */
  loseAnswers: (text: string) => void
  /**
   * The connection of the first request with this text carries so many more bytes in a direction, and then nothing more.
   * Resolves when it has come to that. Without `bytes` it only counts.
   */
  stopAfter: (text: string, direction: keyof Carried, bytes?: number) => Promise<void>
  /** Of the connection that `stopAfter` waits for. */
  carried: () => Carried
  /** Breaks all connections; new ones go through again. */
  cut: () => void
  /** Breaks all connections and refuses new ones. */
  close: () => Promise<void>
}

type Limit = {
  text: string
  direction: keyof Carried
  bytes: number
  connection: Socket | null
  carried: Carried
  reached: () => void
}

/** A proxy for the PostgreSQL behind `url`, whose host is the directory of a socket. */
export async function socketProxy(url: string): Promise<SocketProxy> {
  const directory = await mkdtemp(join(tmpdir(), 'eventcenter-proxy-'))
  const target = decodeURIComponent(/host=([^&]*)/.exec(url)?.[1] ?? '')
  const sockets = new Set<Socket>()
  let isFrozen = false
  let losesFrom: string | null = null
  let areAnswersLost = false
  let limit: Limit | null = null

  const server = createServer((client) => {
    const upstream = createConnection(join(target, '.s.PGSQL.5432'))
    let lastAsked = Buffer.alloc(0)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk: Buffer) => {
        if (from === client) {
          // A text may lie across two chunks.
          const asked = Buffer.concat([lastAsked.subarray(-100), chunk])
          lastAsked = asked
          if (losesFrom !== null && asked.includes(losesFrom)) areAnswersLost = true
          if (limit && !limit.connection && asked.includes(limit.text)) limit.connection = client
        }
        const isLost = isFrozen || (areAnswersLost && from === upstream)
        const carried =
          limit?.connection === client ? upTo(limit, from === client ? 'asked' : 'answered', chunk) : chunk
        if (!isLost && carried.length > 0) to.write(carried)
      })
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(join(directory, '.s.PGSQL.5432'), resolve))

  return {
    url: url.replace(/host=[^&]*/, `host=${encodeURIComponent(directory)}`),
    freeze: () => {
      isFrozen = true
    },
    loseAnswers(text) {
      losesFrom = text
    },
    stopAfter(text, direction, bytes = Infinity) {
      const { promise, resolve } = Promise.withResolvers<void>()
      limit = { text, direction, bytes, connection: null, carried: { asked: 0, answered: 0 }, reached: resolve }
      return promise
    },
    carried: () => limit?.carried ?? { asked: 0, answered: 0 },
    cut() {
      losesFrom = null
      limit = null
      areAnswersLost = false
      for (const socket of sockets) socket.destroy()
      sockets.clear()
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
      await rm(directory, { recursive: true })
    },
  }
}

/** What of a chunk the limit lets pass; nothing in either direction once it is reached. */
function upTo(limit: Limit, direction: keyof Carried, chunk: Buffer): Buffer {
  const { carried } = limit
  if (carried[limit.direction] >= limit.bytes) {
    limit.reached()
    return Buffer.alloc(0)
  }
  const free = direction === limit.direction ? limit.bytes - carried[direction] : chunk.length
  const passing = chunk.subarray(0, free)
  carried[direction] += passing.length
  if (carried[limit.direction] >= limit.bytes) limit.reached()
  return passing
}
