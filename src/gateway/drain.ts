import { setTimeout as sleep } from 'node:timers/promises'
import { closeSession, encode, type Session, type Writer } from './session.ts'
import { inSlices } from './sweep.ts'

/** As many clients as another process can take on in a second. */
const MOVES_PER_SECOND = 1_000
const WINDOW_SECONDS_MIN = 0.5
/** For the last ones to finish moving. Where there is nowhere to move to, waiting longer helps nobody. */
const GRACE_SECONDS = 1

/**
 * Empties the gateway: every client is told to move at a random moment of its own, so that they do not all arrive
 * elsewhere at once; who is still here a second later, or when `seconds` are over, is closed.
 */
export async function drain(sessions: ReadonlySet<Session>, writer: Writer, seconds: number): Promise<void> {
  if (seconds > 0 && sessions.size > 0) {
    const windowSeconds = Math.min(seconds, Math.max(WINDOW_SECONDS_MIN, sessions.size / MOVES_PER_SECOND))
    await inSlices([...sessions], (slice) => {
      for (const session of slice) writer.write(session, drainFrame(Math.random() * windowSeconds))
    })
    const until = Date.now() + Math.min(seconds, windowSeconds + GRACE_SECONDS) * 1000
    while (sessions.size > 0 && Date.now() < until) await sleep(50)
  }
  await inSlices([...sessions], (slice) => {
    for (const session of slice) closeSession(session, 'restart', 'The server restarts')
  })
}

const drainFrame = (seconds: number): Buffer =>
  encode({ type: 'drain', data: { after_ms: Math.round(seconds * 1000) } })
