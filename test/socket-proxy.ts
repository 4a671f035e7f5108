import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Stands between a test and a PostgreSQL, to do what networks do. */
export type SocketProxy = {
  url: string
  /** Carries nothing more, in silence. */
  freeze: () => void
  /** Breaks all connections and refuses new ones. */
  close: () => Promise<void>
}

/** A proxy for the PostgreSQL behind `url`, whose host is the directory of a socket. */
export async function socketProxy(url: string): Promise<SocketProxy> {
  const directory = await mkdtemp(join(tmpdir(), 'eventcenter-proxy-'))
  const target = decodeURIComponent(/host=([^&]*)/.exec(url)?.[1] ?? '')
  const sockets = new Set<Socket>()
  let isFrozen = false
  const server = createServer((client) => {
    const upstream = createConnection(join(target, '.s.PGSQL.5432'))
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk) => void (isFrozen || to.write(chunk)))
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
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
      await rm(directory, { recursive: true })
    },
  }
}
