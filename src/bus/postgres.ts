import type { Db } from '../db/db.ts'
import type { Bus, LiveFrame } from './bus.ts'

const CHANNEL = 'eventcenter_live'

/** PostgreSQL refuses payloads of 8,000 bytes and more. */
const PAYLOAD_BYTES_MAX = 7_900

/** What may wait for one statement; beyond it the database is away, and frames are lossy anyway. */
const WAITING_FRAMES_MAX = 10_000

/**
 * The bus between processes that share only the database. Frames published in one tick travel in one statement, of
 * its own, so that the lock that NOTIFY takes at commit is never held by a transaction that does work.
 */
export function postgresBus(db: Db): Bus {
  let waiting: LiveFrame[] = []
  let flushing: Promise<void> | undefined
  let isClosed = false

  async function flush(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    const payloads = payloadsOf(waiting)
    waiting = []
    flushing = undefined
    await db.query('select pg_notify($1, payload) from unnest($2::text[]) as payload', [CHANNEL, payloads])
  }

  return {
    publish: async (frame) => {
      if (isClosed) throw new Error('The bus is closed')
      if (waiting.length >= WAITING_FRAMES_MAX) throw new Error('Too many frames wait for the database')
      waiting.push(frame)
      flushing ??= flush()
      await flushing
    },

    subscribe: async (onFrame, onGap) => {
      let isFirstConnect = true
      return db.listen(
        CHANNEL,
        (payload) => {
          const frames = parsePayload(payload)
          if (!frames) return onGap()
          for (const frame of frames) onFrame(frame)
        },
        () => {
          if (!isFirstConnect) onGap()
          isFirstConnect = false
        },
      )
    },

    check: async () => {
      await db.query('select 1')
    },

    close: async () => {
      isClosed = true
      await flushing?.catch(() => {}) // its publishers were told
    },
  }
}

/** JSON arrays of frames, each as full as a payload may be. Identical payloads would be folded, as the frames may be. */
function payloadsOf(frames: LiveFrame[]): string[] {
  const payloads: string[] = []
  let members: string[] = []
  let bytes = 0
  const end = (): void => {
    if (members.length > 0) payloads.push(`[${members.join(',')}]`)
    members = []
    bytes = 0
  }
  for (const frame of frames) {
    const text = fitting(frame)
    const textBytes = Buffer.byteLength(text) + 1
    if (bytes + textBytes + 1 > PAYLOAD_BYTES_MAX) end()
    members.push(text)
    bytes += textBytes
  }
  end()
  return payloads
}

function fitting(frame: LiveFrame): string {
  const text = JSON.stringify(frame)
  return Buffer.byteLength(text) + 2 <= PAYLOAD_BYTES_MAX ? text : JSON.stringify({ ...frame, frame: null })
}

/** Null for what no version of this program would send: something was said that we cannot read. */
function parsePayload(payload: string): LiveFrame[] | null {
  try {
    const frames: unknown = JSON.parse(payload)
    return Array.isArray(frames) && frames.every(isLiveFrame) ? frames : null
  } catch {
    return null
  }
}

function isLiveFrame(value: unknown): value is LiveFrame {
  if (typeof value !== 'object' || value === null) return false
  const frame = value as Partial<Record<keyof LiveFrame, unknown>>
  const hasSeq = frame.seq === undefined || (typeof frame.seq === 'string' && /^\d{1,19}$/.test(frame.seq))
  return (
    typeof frame.company_id === 'string' &&
    typeof frame.user_id === 'string' &&
    hasSeq &&
    typeof frame.frame === 'object'
  )
}
