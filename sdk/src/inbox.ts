import { api, type TokenSource } from './api.ts'
import { applyChange, keep, knownUpTo, moveCursor, replaceAll, visible, type Known } from './apply.ts'
import { connection, type ConnectionStatus } from './connection.ts'
import type { Notification, ServerFrame } from './protocol.ts'

export type InboxOptions = {
  /** Where EventCenter is reached: `https://notify.example.org`. A page that it serves itself needs none. */
  url?: string | URL
  /** A user token, or a function that gets one. Only with a function can the inbox outlive its token. */
  token: TokenSource
  /** Notifications per page, up to 100. */
  pageSize?: number
}

/** What there is to show. Each change makes a new object; what did not change is the same as before. */
export type InboxState = {
  readonly status: ConnectionStatus
  /** Why the server ended it for good (a close code), where `status` is `closed` without `close()`. */
  readonly closedBy: number | null
  /** Newest first, without what is archived or snoozed. */
  readonly notifications: readonly Notification[]
  readonly unreadCount: number
  /** The list is being loaded. */
  readonly isLoading: boolean
  /** There are older ones: `loadMore()`. */
  readonly hasMore: boolean
}

export type NotificationListener = (notification: Notification, how: { isMissed: boolean }) => void

export type Inbox = {
  get: () => InboxState
  /** Calls back after every change; returns how to stop that. */
  subscribe: (listener: () => void) => () => void
  /** Calls back once for everything new, for toasts and sounds; `isMissed` came while nobody was connected. */
  onNotification: (listener: NotificationListener) => () => void
  loadMore: () => Promise<void>
  read: (id: string) => Promise<void>
  unread: (id: string) => Promise<void>
  archive: (id: string) => Promise<void>
  snooze: (id: string, until: Date) => Promise<void>
  readAll: () => Promise<void>
  /** Ends it for good. */
  close: () => void
}

const ACK_EVERY_MS = 1_000
const LOAD_AGAIN_MS = 3_000

/** The live inbox of one user: loads it, keeps it up to date over WebSocket, and catches up after every interruption. */
export function inbox({ url, token, pageSize = 50 }: InboxOptions): Inbox {
  const baseUrl = new URL(url ?? globalThis.location.origin)
  const http = api(baseUrl, token, pageSize)
  const listeners = new Set<() => void>()
  const notificationListeners = new Set<NotificationListener>()
  let state: InboxState = {
    status: 'connecting',
    closedBy: null,
    notifications: [],
    unreadCount: 0,
    isLoading: true,
    hasMore: false,
  }
  /** Null until the server said where the inbox is. */
  let known: Known | null = null
  let nextPage: string | null = null
  /** Why missed changes were asked for, until they are here. */
  let resuming: 'reconnected' | 'gap' | null = null
  let ackTimer: ReturnType<typeof setTimeout> | undefined
  let loadTimer: ReturnType<typeof setTimeout> | undefined
  let loading = 0

  const link = connection({ url: socketUrl(baseUrl), token, onFrame: onServerFrame, onStatus })

  return {
    get: () => state,
    subscribe: (listener) => added(listeners, listener),
    onNotification: (listener) => added(notificationListeners, listener),
    loadMore,
    read: (id) => change(id, 'read'),
    unread: (id) => change(id, 'unread'),
    archive: (id) => change(id, 'archive'),
    snooze: async (id, until) => take(await http.snooze(id, until)),
    readAll: () => http.readAll(), // each change comes over the socket
    close: () => {
      clearTimeout(ackTimer)
      clearTimeout(loadTimer)
      loading += 1
      link.close()
    },
  }

  function onStatus(status: ConnectionStatus, closedBy: number | null = null): void {
    resuming = null
    set({ status, closedBy })
  }

  function onServerFrame(frame: ServerFrame): void {
    switch (frame.type) {
      case 'ready':
        return start(frame.data.seq, frame.data.unread_count)
      case 'notification':
      case 'notification_updated':
        return apply(frame)
      case 'resumed':
        resuming = null
        if (known) known = moveCursor(known, frame.data.seq)
        return acknowledge()
      case 'reset':
        resuming = null
        known = { ...knownUpTo(frame.data.seq), byId: known?.byId ?? new Map() }
        return void load(frame.data.seq)
      case 'unread_count':
        return set({ unreadCount: frame.data.count })
      default: // newer servers may say more
    }
  }

  function start(seq: number, unreadCount: number): void {
    set({ unreadCount })
    if (!known) {
      known = knownUpTo(seq)
      void load(seq)
    } else if (known.cursor !== seq) resume('reconnected')
  }

  function resume(why: 'reconnected' | 'gap'): void {
    if (resuming || !known) return
    resuming = why
    link.send({ type: 'resume', since: known.cursor })
  }

  function apply(frame: Extract<ServerFrame, { type: 'notification' | 'notification_updated' }>): void {
    if (!known) return
    const applied = applyChange(known, frame)
    known = applied
    if (applied.hasGap) resume('gap')
    if (!applied.isNew) return
    set({ notifications: visible(known.byId) })
    acknowledge()
    if (frame.type !== 'notification') return
    // A replay in between repairs what overtook something on its way: it is as new as everything else.
    const isMissed = frame.replayed === true && resuming === 'reconnected'
    for (const listener of notificationListeners) listener(frame.data.notification, { isMissed })
  }

  /** The first page, once everything up to `seq` is in it. What changes meanwhile comes as frames and wins. */
  async function load(seq: number): Promise<void> {
    const turn = ++loading
    clearTimeout(loadTimer)
    set({ isLoading: true })
    try {
      const page = await http.list(null)
      if (turn !== loading || !known) return
      known = { ...known, byId: replaceAll(known.byId, page.items, seq) }
      nextPage = page.next
      set({ notifications: visible(known.byId), hasMore: nextPage !== null, isLoading: false })
    } catch {
      if (turn !== loading) return
      loadTimer = setTimeout(() => void load(seq), LOAD_AGAIN_MS)
    }
  }

  async function loadMore(): Promise<void> {
    if (nextPage === null || state.isLoading) return
    const turn = ++loading
    set({ isLoading: true })
    try {
      const page = await http.list(nextPage)
      if (turn !== loading || !known) return
      nextPage = page.next
      for (const one of page.items) known = { ...known, byId: keep(known.byId, one) }
      set({ notifications: visible(known.byId), hasMore: nextPage !== null })
    } finally {
      if (turn === loading) set({ isLoading: false })
    }
  }

  async function change(id: string, what: 'read' | 'unread' | 'archive'): Promise<void> {
    take(await http.change(id, what))
  }

  /** The answer to an own change may come before its frame: then the frame brings nothing new. */
  function take(notification: Notification): void {
    if (!known) return
    known = { ...known, byId: keep(known.byId, notification) }
    set({ notifications: visible(known.byId) })
  }

  /** Tells the server what was shown, at most once a second. */
  function acknowledge(): void {
    ackTimer ??= setTimeout(() => {
      ackTimer = undefined
      if (known) link.send({ type: 'ack', seq: known.cursor })
    }, ACK_EVERY_MS)
  }

  function set(part: Partial<InboxState>): void {
    state = { ...state, ...part }
    for (const listener of listeners) listener()
  }
}

function added<Listener>(listeners: Set<Listener>, listener: Listener): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}

function socketUrl(baseUrl: URL): URL {
  const url = new URL('api/v1/ws/notifications', baseUrl)
  url.protocol = baseUrl.protocol === 'https:' ? 'wss:' : 'ws:'
  return url
}
