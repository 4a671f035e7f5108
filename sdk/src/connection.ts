import { tokenOf, type TokenSource } from './api.ts'
import { pauseMs, QUICK_ATTEMPTS } from './backoff.ts'
import { CLOSE_CODES, isFinal, type ClientFrame, type ServerFrame } from './protocol.ts'

/**
 * - `connecting`: the first attempt; `live`; `reconnecting`: a few seconds at most, usually;
 * - `waiting`: ten attempts in a row failed, now there is one a minute (and one at once when the network comes back);
 * - `closed`: for good, by `close()` or because the server would refuse every attempt.
 */
export type ConnectionStatus = 'connecting' | 'live' | 'reconnecting' | 'waiting' | 'closed'

export type Connection = {
  /** Sends when live; else drops it, as whatever it asked for is asked anew after `ready`. */
  send: (frame: ClientFrame) => void
  close: () => void
}

type ConnectionOptions = {
  url: URL
  token: TokenSource
  onFrame: (frame: ServerFrame) => void
  /** `code` is what ended it for good, when the status is `closed`. */
  onStatus: (status: ConnectionStatus, code?: number) => void
  random?: () => number
}

/** One socket, and whether the server has greeted it. */
type Link = {
  socket: WebSocket
  isReady: boolean
  isLost: boolean
  timers: Set<ReturnType<typeof setTimeout>>
  heardAt: number
}

/** From the first byte to `ready`; longer, and something between us holds the connection without carrying it. */
const READY_TIMEOUT_MS = 10_000
const PONG_TIMEOUT_MS = 10_000
/** A connection that lived this long was good: the next failure is the first again. */
const STABLE_MS = 30_000
/** To another attempt at moving, as long as the old link lives. */
const MOVE_AGAIN_MS = 250
/** How late at most after the network came back. */
const ONLINE_JITTER_MS = 1_000

/** Keeps one authenticated socket open, for as long as it is not closed. */
export function connection({ url, token, onFrame, onStatus, random = Math.random }: ConnectionOptions): Connection {
  let current: Link | null = null
  /** The link of the last attempt. */
  let latest: Link | null = null
  let failures = 0
  let refusals = 0
  let isClosed = false
  let retry: ReturnType<typeof setTimeout> | undefined
  onStatus('connecting')
  void open()
  globalThis.addEventListener?.('online', onOnline)

  return {
    send: (frame) => {
      if (current?.isReady) current.socket.send(JSON.stringify(frame))
    },
    close: () => end(),
  }

  async function open(): Promise<void> {
    clearTimeout(retry)
    let text: string
    try {
      text = await tokenOf(token)
    } catch {
      return again()
    }
    if (isClosed) return
    const socket = new WebSocket(url)
    const link: Link = { socket, isReady: false, isLost: false, timers: new Set(), heardAt: Date.now() }
    latest = link
    later(link, READY_TIMEOUT_MS, () => {
      if (!link.isReady) abandon(link)
    })
    socket.addEventListener('open', () => socket.send(JSON.stringify({ type: 'auth', token: text })))
    socket.addEventListener('message', ({ data }) => hear(link, String(data)))
    socket.addEventListener('close', ({ code }) => lose(link, code))
  }

  function hear(link: Link, text: string): void {
    link.heardAt = Date.now()
    const frame = parse(text)
    if (!frame || isClosed) return
    if (frame.type === 'ready') welcome(link, frame.data.heartbeat_seconds)
    // Of a link that is being replaced nothing is lost: the new one asks from the same cursor.
    if (link !== current) return
    if (frame.type === 'drain') return later(link, frame.data.after_ms, () => void open())
    onFrame(frame)
  }

  /** The old link goes only now, so moving to another server leaves no moment without one. */
  function welcome(link: Link, heartbeatSeconds: number): void {
    const old = current
    current = link
    link.isReady = true
    if (old && old !== link) drop(old)
    later(link, STABLE_MS, () => {
      failures = 0
      refusals = 0
    })
    beat(link, heartbeatSeconds * 1000)
    onStatus('live')
  }

  /** Browsers answer the server's pings unseen, so silence is asked about. */
  function beat(link: Link, everyMs: number): void {
    later(link, everyMs, () => {
      const askedAt = Date.now()
      if (askedAt - link.heardAt < everyMs) return beat(link, everyMs)
      link.socket.send(JSON.stringify({ type: 'ping' } satisfies ClientFrame))
      later(link, PONG_TIMEOUT_MS, () => {
        if (link.heardAt < askedAt) return abandon(link)
        beat(link, everyMs)
      })
    })
  }

  /** Goes on without waiting for a close that may never be answered. */
  function abandon(link: Link): void {
    drop(link)
    lose(link, 1006)
  }

  function drop(link: Link): void {
    stopTimers(link)
    link.socket.close()
  }

  function lose(link: Link, code: number): void {
    stopTimers(link)
    if (isClosed || link.isLost) return
    link.isLost = true
    if (link === current) {
      current = null
      // Its successor is on the way and decides what follows.
      if (link !== latest) return onStatus('reconnecting')
    }
    if (link !== latest) return
    // It was to replace a link that still lives, and perhaps met the server that is going.
    if (current) return later(current, MOVE_AGAIN_MS * (0.5 + random()), () => void open())
    if (isHopeless(code)) return end(code)
    again()
  }

  function isHopeless(code: number): boolean {
    const canGetNewToken = typeof token === 'function'
    if (code === CLOSE_CODES.tokenExpired) return !canGetNewToken
    const mayTryOnceMore = code === CLOSE_CODES.authTimeout || (code === CLOSE_CODES.unauthorized && canGetNewToken)
    if (mayTryOnceMore && refusals === 0) {
      refusals += 1
      return false
    }
    return isFinal(code)
  }

  function again(): void {
    onStatus(failures >= QUICK_ATTEMPTS ? 'waiting' : 'reconnecting')
    clearTimeout(retry)
    retry = setTimeout(() => void open(), pauseMs(failures, random))
    failures += 1
  }

  function onOnline(): void {
    if (current || isClosed) return
    clearTimeout(retry)
    retry = setTimeout(() => void open(), random() * ONLINE_JITTER_MS)
  }

  function end(code?: number): void {
    if (isClosed) return
    isClosed = true
    clearTimeout(retry)
    globalThis.removeEventListener?.('online', onOnline)
    if (current) drop(current)
    current = null
    onStatus('closed', code)
  }
}

function later(link: Link, ms: number, work: () => void): void {
  const timer = setTimeout(() => {
    link.timers.delete(timer)
    work()
  }, ms)
  link.timers.add(timer)
}

function stopTimers({ timers }: Link): void {
  for (const timer of timers) clearTimeout(timer)
  timers.clear()
}

function parse(text: string): ServerFrame | null {
  try {
    const frame: unknown = JSON.parse(text)
    return typeof frame === 'object' && frame !== null && 'type' in frame ? (frame as ServerFrame) : null
  } catch {
    return null
  }
}
