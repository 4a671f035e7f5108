import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Ports } from '../ports.ts'
import { admission, type VerifyToken } from './admission.ts'
import { clientAddress, type TrustedProxies } from './client-address.ts'
import { credentialsOf } from './credentials.ts'
import { drain } from './drain.ts'
import { feed as feedOf } from './feed.ts'
import { incoming as incomingOf } from './incoming.ts'
import { LIMITS, type Limits } from './limits.ts'
import { isAllowedOrigin } from './origin.ts'
import { refuse } from './refuse.ts'
import { session as sessionOf, writer as writerOf, type Session } from './session.ts'
import { checkTimes, compareHeads, heartbeat } from './sweep.ts'
import { unreadCounts } from './unread-count.ts'
import { users as usersOf, type UserSessions } from './users.ts'

export const GATEWAY_PATH = '/api/v1/ws/notifications'

export type GatewayOptions = {
  verify: VerifyToken
  /** Exact origins whose pages may connect, beside those of the server's own host. */
  allowedOrigins: readonly string[]
  trustedProxies?: TrustedProxies
  limits?: Partial<Limits>
}

export type Gateway = {
  /** Takes over the upgrades of an HTTP server. */
  attach: (server: Server) => void
  handleUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
  /** Users with an open session here; of one company, where it is given. */
  activeUsers: (companyId?: string) => number
  /** Open sessions here, also those whose user is not known yet; of the users of one company, where it is given. */
  connections: (companyId?: string) => number
  connectionCount: (companyId: string, userId: string) => number
  /** Refuses new sessions, asks the others to move within `drainSeconds`, and ends what is left. */
  close: (drainSeconds: number) => Promise<void>
}

/** The WebSocket end of the inbox: one session per socket, any number of them per user. See docs/websocket.md. */
export async function gateway(
  { db, bus, metrics, log }: Pick<Ports, 'db' | 'bus' | 'metrics' | 'log'>,
  { verify, allowedOrigins, trustedProxies = [], limits: changes = {} }: GatewayOptions,
): Promise<Gateway> {
  const limits = { ...LIMITS, ...changes }
  const origins = new Set(allowedOrigins)
  const addressOf = clientAddress(trustedProxies)
  const sessions = new Set<Session>()
  const perAddress = new Map<string, number>()
  const users = usersOf()
  const writer = writerOf(metrics, limits, onDrained)
  const counts = unreadCounts({ db, log }, writer, limits)
  const feed = feedOf({ db, log }, { users, writer, limits, onChange: counts })
  const authenticate = admission({ log }, { verify, users, feed, writer, limits })
  const incoming = incomingOf({ db, bus, log }, { authenticate, feed, writer, limits })
  const server = new WebSocketServer({
    ...CLOSE_TIMEOUT,
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.payloadBytes,
    maxFragments: 16,
    maxBufferedChunks: 64,
  })
  let isClosing = false

  const subscription = await bus.subscribe(feed.deliver, () => void compareHeads({ db, log }, users, feed))
  const ticks = setInterval(() => checkTimes(sessions, limits, feed, Date.now()), limits.tickMs)
  const beats = setInterval(() => void beat(), limits.heartbeatSeconds * 1000)

  return {
    attach: (httpServer) => void httpServer.on('upgrade', handleUpgrade),
    handleUpgrade,
    activeUsers: (companyId) => (companyId === undefined ? users.count() : usersOfCompany(companyId).length),
    connections: (companyId) =>
      companyId === undefined
        ? sessions.size
        : usersOfCompany(companyId).reduce((sum, user) => sum + user.sessions.size, 0),
    connectionCount: (companyId, userId) => users.find(companyId, userId)?.sessions.size ?? 0,
    close,
  }

  function handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Until `ws` takes over, nobody else listens, and an unheard error would end the process.
    const onError = (): void => void socket.destroy()
    socket.on('error', onError)

    const path = request.url?.split('?', 1)[0]
    const address = addressOf(request)
    if (path !== GATEWAY_PATH) return refuse(socket, 404, `WebSockets are at ${GATEWAY_PATH}`)
    if (!isAllowedOrigin(request.headers.origin, request.headers.host, origins)) {
      return refuse(socket, 403, 'Pages of this origin may not connect; see ALLOWED_ORIGINS')
    }
    if (isClosing) return refuse(socket, 503, 'The server is going down', { 'Retry-After': '2' })
    if ((perAddress.get(address) ?? 0) >= limits.sessionsPerAddress) {
      return refuse(socket, 429, 'Too many connections from one address', { 'Retry-After': '10' })
    }
    server.handleUpgrade(request, socket, head, (webSocket) => {
      socket.off('error', onError)
      open(webSocket, request, address)
    })
  }

  function open(webSocket: WebSocket, request: IncomingMessage, address: string): void {
    const session = sessionOf(webSocket, address, limits, Date.now())
    sessions.add(session)
    perAddress.set(address, (perAddress.get(address) ?? 0) + 1)
    webSocket.on('message', (data, isBinary) => incoming.message(session, data, isBinary))
    webSocket.on('ping', () => incoming.control(session))
    webSocket.on('pong', () => {
      session.isAlive = true
    })
    webSocket.on('error', () => {}) // `close` follows, with the code
    webSocket.on('close', () => forget(session))
    report()
    const credentials = credentialsOf(request)
    if (credentials) incoming.present(session, credentials)
  }

  function forget(session: Session): void {
    sessions.delete(session)
    users.leave(session)
    const left = (perAddress.get(session.address) ?? 1) - 1
    if (left > 0) perAddress.set(session.address, left)
    else perAddress.delete(session.address)
    report()
  }

  function usersOfCompany(companyId: string): UserSessions[] {
    return [...users.all()].filter((user) => user.companyId === companyId)
  }

  function report(): void {
    metrics.connections.set(sessions.size)
    metrics.activeUsers.set(users.count())
  }

  function onDrained(session: Session): void {
    session.state = 'behind'
    if (session.user) feed.catchUp(session.user)
  }

  async function beat(): Promise<void> {
    report()
    await heartbeat(sessions)
    await compareHeads({ db, log }, users, feed)
  }

  async function close(drainSeconds: number): Promise<void> {
    isClosing = true
    clearInterval(beats)
    await drain(sessions, writer, drainSeconds)
    // What is left now hears of nobody any more.
    await Promise.race([allGone(), sleep(CLOSE_TIMEOUT_MS)])
    for (const session of sessions) session.socket.terminate()
    clearInterval(ticks)
    await subscription.stop()
  }

  async function allGone(): Promise<void> {
    while (sessions.size > 0) await sleep(20)
  }
}

/** For the other side to answer a close frame. */
const CLOSE_TIMEOUT_MS = 2_000

/** Its type is missing from the declarations of `ws`. */
const CLOSE_TIMEOUT: object = { closeTimeout: CLOSE_TIMEOUT_MS }
