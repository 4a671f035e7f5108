import type { JsonObject } from '../core/json.ts'

/**
 * A frame for all live sessions of one user. `seq` is the inbox change it carries, absent for frames outside the log.
 * `frame` is null when it was too large for the bus: the gateway reads what changed from the database.
 */
export type LiveFrame = { company_id: string; user_id: string; seq?: string; frame: JsonObject | null }

/**
 * Carries frames to the gateways of all processes. Lossy by design: the inbox is in the database, and a gateway that
 * misses a `seq` reads the gap from there.
 */
export type Bus = {
  publish(frame: LiveFrame): Promise<void>
  /** Calls back for every frame published by any process. `onGap` runs when frames may have been lost. */
  subscribe(onFrame: (frame: LiveFrame) => void, onGap: () => void): Promise<{ stop: () => Promise<void> }>
  /** Rejects when the bus cannot carry frames now. */
  check(): Promise<void>
  close(): Promise<void>
}
