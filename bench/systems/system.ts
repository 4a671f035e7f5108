/** One job, the same for every system: about 300 bytes as JSON. */
export type Payload = {
  n: number
  /** `process.hrtime.bigint()` when it was enqueued: one clock for all processes of a machine. */
  at: string
  text: string
}

/** A queue under measurement, opened in a process of its own. */
export type System = {
  /** Resolves when the system promises to keep the job. */
  enqueueOne(payload: Payload): Promise<unknown>
  enqueueMany(payloads: Payload[]): Promise<unknown>
  /** Handles jobs until stopped, about 50 at a time. Handlers are synchronous and do nothing that takes time. */
  work(handler: (payload: Payload) => void): Promise<{ stop: () => Promise<void> }>
  /** Whether the outcome of every job is recorded. */
  isDrained(): Promise<boolean>
  close(): Promise<void>
}

export type OpenOptions = {
  /** A fresh database made from the prepared one, or an empty Redis. */
  url: string
  settings: Readonly<Record<string, unknown>>
}

/** What a file that adapts a system exports. */
export type SystemModule = {
  /** Creates the tables in an empty database. */
  prepare?(url: string): Promise<void>
  open(options: OpenOptions): Promise<System>
}

const TEXT =
  'What happened is told here in some two hundred and thirty characters, as a typical notification carries. '.repeat(3)

export const payload = (n: number): Payload => ({ n, at: String(process.hrtime.bigint()), text: TEXT.slice(0, 240) })

export const payloads = (from: number, count: number): Payload[] =>
  Array.from({ length: count }, (_, index) => payload(from + index))
