/** How much is done in each measure. */
export type Sizes = {
  /** Callers of single enqueues at the same time. */
  callers: number
  singles: number
  batched: number
  batchSize: number
  processed: number
  /** Done before the clock starts: code is compiled, and memory is taken, as in a process that has run for a while. */
  warmUp: number
  /** Jobs of the latency measures, one at a time. */
  samples: number
  /** Drained while vacuum is pinned, and what remains behind them. */
  pinned: number
  pinnedRest: number
  connections: number
  httpSeconds: number
  pipelined: number
}

export const FULL: Sizes = {
  callers: 50,
  singles: 5000,
  batched: 20_000,
  batchSize: 500,
  processed: 20_000,
  warmUp: 20_000,
  samples: 300,
  pinned: 300_000,
  pinnedRest: 100_000,
  connections: 100,
  httpSeconds: 8,
  pipelined: 20_000,
}

/** For development: shows that everything runs, proves nothing. */
export const QUICK: Sizes = {
  ...FULL,
  singles: 2000,
  batched: 5000,
  processed: 5000,
  warmUp: 2000,
  samples: 60,
  pinned: 25_000,
  pinnedRest: 5000,
  httpSeconds: 2,
  pipelined: 2000,
}
