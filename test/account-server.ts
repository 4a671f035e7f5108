import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { pino } from 'pino'
import { memoryBus } from '../src/bus/memory.ts'
import type { Bus } from '../src/bus/bus.ts'
import type { Db } from '../src/db/db.ts'
import { gateway, type Gateway } from '../src/gateway/gateway.ts'
import type { Limits } from '../src/gateway/limits.ts'
import { notificationRoutes } from '../src/http/notifications.ts'
import { httpServer } from '../src/http/server.ts'
import { metrics } from '../src/metrics.ts'
import { verifyToken } from './gateway.ts'

export type AccountServer = {
  url: string
  port: number
  bus: Bus
  gateway: Gateway
  stop: () => Promise<void>
}

/** The personal account as a browser meets it: its HTTP routes and the gateway on one port. */
export async function startAccountServer(
  db: Db,
  { port = 0, limits = {}, drainSeconds = 0 }: { port?: number; limits?: Partial<Limits>; drainSeconds?: number } = {},
): Promise<AccountServer> {
  const log = pino({ level: 'silent' })
  const bus = memoryBus()
  const measured = metrics()
  const app = httpServer(
    { log, metrics: measured },
    { authenticate: { service: async () => null, user: (token) => verifyToken(token) } },
  )
  void app.register(notificationRoutes({ db, bus, log }))
  const running = await gateway(
    { db, bus, log, metrics: measured },
    { verify: (token) => verifyToken(token), allowedOrigins: [], limits },
  )
  await app.listen({ port, host: '127.0.0.1' })
  running.attach(app.server)
  const address = app.server.address() as AddressInfo

  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    bus,
    gateway: running,
    stop: async () => {
      await running.close(drainSeconds)
      await app.close()
    },
  }
}

/** A network between a client and a server that can be cut. */
export async function startProxy(target: () => number): Promise<{
  url: string
  cut: () => void
  /** Refuses every connection until it is `mended`. */
  break: () => void
  mend: () => void
  stop: () => Promise<void>
}> {
  const sockets = new Set<Socket>()
  let isBroken = false
  const server = createServer((near) => {
    if (isBroken) {
      near.destroy()
      return
    }
    const far = connect(target(), '127.0.0.1')
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    break: () => {
      isBroken = true
      cut()
    },
    mend: () => {
      isBroken = false
    },
    stop: async () => {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
