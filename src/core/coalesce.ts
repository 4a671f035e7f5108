type Waiting<Input, Output> = { input: Input; resolve: (output: Output) => void; reject: (error: unknown) => void }

/** What keeps about the same pace is worth waiting for so long, and no longer. */
export const GATHER_MS = 3

export type CoalesceOptions = {
  maxInputs: number
  maxRunning: number
  /** Waits this long for more calls, but not once `enough` of them are there: the only ones that can still come. */
  gather?: { ms: number; enough: () => number }
}

/**
 * Lets calls of one turn of the event loop, and those that come while a run is in progress, share the next run. `run`
 * answers in the order of its inputs; when it fails, every call of that run fails.
 */
export function coalesced<Input, Output>(
  run: (inputs: Input[]) => Promise<readonly Output[]>,
  { maxInputs, maxRunning, gather }: CoalesceOptions,
): (input: Input) => Promise<Output> {
  const waiting: Waiting<Input, Output>[] = []
  let running = 0
  let isPlanned = false
  let gathering: NodeJS.Timeout | undefined

  function plan(): void {
    if (isPlanned || running >= maxRunning || waiting.length === 0) return
    if (gather && waiting.length < Math.min(gather.enough(), maxInputs)) {
      gathering ??= setTimeout(go, gather.ms)
      return
    }
    isPlanned = true
    setImmediate(go)
  }

  function go(): void {
    clearTimeout(gathering)
    gathering = undefined
    isPlanned = false
    if (running >= maxRunning || waiting.length === 0) return
    void runNext(waiting.splice(0, maxInputs))
    plan()
  }

  async function runNext(group: Waiting<Input, Output>[]): Promise<void> {
    running += 1
    try {
      const outputs = await run(group.map(({ input }) => input))
      for (const [index, { resolve }] of group.entries()) resolve(outputs[index] as Output)
    } catch (error) {
      for (const { reject } of group) reject(error)
    } finally {
      running -= 1
      plan()
    }
  }

  return (input) =>
    new Promise((resolve, reject) => {
      waiting.push({ input, resolve, reject })
      plan()
    })
}
