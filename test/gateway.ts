import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { vi } from 'vitest'
import { WebSocket } from 'ws'
import { memoryBus } from '../src/bus/memory.ts'
import type { Bus } from '../src/bus/bus.ts'
import { idOfUuid } from '../src/core/id.ts'
import type { JsonObject } from '../src/core/json.ts'
import type { Notification } from '../src/core/notification.ts'
import type { Db } from '../src/db/db.ts'
import { gateway, GATEWAY_PATH, type Gateway, type GatewayOptions } from '../src/gateway/gateway.ts'
import type { Limits } from '../src/gateway/limits.ts'
import { userTokens } from '../src/http/user-token.ts'
import { metrics, type Metrics } from '../src/metrics.ts'
import { findNotification } from '../src/store/notification.ts'
import { putNotification } from './inbox.ts'

const tokens = userTokens({ secret: 'a secret of the tests, at least 32 bytes long' })

/** A token that the gateways of these tests accept. */
export async function tokenOf(userId: string, { companyId = '', seconds = 600 } = {}): Promise<string> {
  if (!tokens.sign) throw new Error('These tokens cannot be signed')
  return tokens.sign({ userId, companyId, seconds })
}

/** What those gateways verify tokens with. */
export const verifyToken = (token: string): ReturnType<typeof tokens.verify> => tokens.verify(token)

export type RunningGateway = {
  gateway: Gateway
  server: Server
  bus: Bus
  metrics: Metrics
  url: string
  port: number
  stop: () => Promise<void>
}

/** A gateway behind a real HTTP server. */
export async function startGateway(
  db: Db,
  {
    limits = {},
    bus = memoryBus(),
    ...options
  }: Partial<GatewayOptions> & { limits?: Partial<Limits>; bus?: Bus } = {},
): Promise<RunningGateway> {
  const measured = metrics()
  const log = pino({ level: 'silent' })
  const running = await gateway(
    { db, bus, metrics: measured, log },
    { verify: verifyToken, allowedOrigins: ['https://app.example.org'], limits, ...options },
  )
  const server = createServer((_request, response) => response.writeHead(404).end())
  running.attach(server)
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  return {
    gateway: running,
    server,
    bus,
    metrics: measured,
    url: `ws://127.0.0.1:${port}${GATEWAY_PATH}`,
    port,
    stop: async () => {
      await running.close(0)
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export type Client = {
  socket: WebSocket
  /** Everything received, in order. */
  frames: JsonObject[]
  send: (frame: JsonObject | string) => void
  /** The first frame of this type, or the n-th. */
  frame: (type: string, count?: number) => Promise<JsonObject>
  all: (type: string) => JsonObject[]
  /** Resolves with the code when the socket is closed. */
  closed: Promise<{ code: number; reason: string }>
  /** The HTTP status of a refused upgrade. */
  refused: Promise<number>
}

/** A socket of the tests. */
export function connectClient(url: string, options: ConstructorParameters<typeof WebSocket>[2] = {}): Client {
  const socket = new WebSocket(url, options)
  const frames: JsonObject[] = []
  socket.on('message', (data: Buffer) => frames.push(JSON.parse(data.toString()) as JsonObject))
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }))
  })
  const refused = new Promise<number>((resolve) => {
    socket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode ?? 0)
      request.destroy()
    })
  })
  socket.on('error', () => {}) // `close` follows
  const all = (type: string): JsonObject[] => frames.filter((one) => one['type'] === type)

  return {
    socket,
    frames,
    all,
    closed,
    refused,
    send: (frame) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    async frame(type, count = 1) {
      // `expect.poll` would not work in hooks.
      await vi.waitUntil(() => all(type).length >= count, { timeout: 10_000, interval: 5 })
      return all(type)[count - 1]!
    },
  }
}

/** A client that is connected and greeted. */
export async function readyClient(
  { url }: Pick<RunningGateway, 'url'>,
  userId: string,
  companyId = '',
): Promise<Client> {
  const client = connectClient(`${url}?token=${await tokenOf(userId, { companyId })}`)
  await client.frame('ready')
  return client
}

/** Puts a notification into an inbox, and tells nobody. */
export async function writeNotification(
  db: Db,
  { companyId = '', userId, title = 'Ready', body = 'It is done' }: NotificationToWrite,
): Promise<Notification> {
  const id = await putNotification(db, { companyId, userId }, { title })
  const rowId = idOfUuid(id) ?? ''
  await db.query('update notification set body = $2 where id = $1', [rowId, body])
  const notification = await findNotification(db, { companyId, userId }, rowId)
  if (!notification) throw new Error('The notification is gone')
  return notification
}

type NotificationToWrite = { companyId?: string; userId: string; title?: string; body?: string }

/** The `seq` of each notification among these frames. */
export const seqsOf = (frames: JsonObject[]): number[] =>
  frames.map((one) => (one['data'] as { notification: { seq: number } }).notification.seq)

/** What the ws channel publishes. */
export const liveFrame = (notification: Notification, userId: string, companyId = '') => ({
  company_id: companyId,
  user_id: userId,
  seq: String(notification.seq),
  frame: { type: 'notification', data: { notification: notification as unknown as JsonObject } },
})
