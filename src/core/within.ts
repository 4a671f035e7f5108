/** For the work to stop, and to say how far it came. */
const HEED_MS = 2000

/**
 * Runs `work` with a signal that ends with `signal`, or after `seconds`. Work that does not heed it is given up a little
 * later, so that no channel can hold a delivery for ever. Leaves nothing behind: `AbortSignal.timeout` and `any` would
 * keep two kilobytes for every send until its time is over.
 */
export async function within<Output>(
  seconds: number,
  signal: AbortSignal,
  work: (deadline: AbortSignal) => Promise<Output>,
): Promise<Output> {
  const deadline = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const ignored = Promise.withResolvers<never>()
  const end = (): void => {
    clearTimeout(timer)
    deadline.abort(new DOMException('The time is over', 'TimeoutError'))
    timer = setTimeout(() => ignored.reject(new Error('The signal was not heeded')), HEED_MS)
  }
  timer = setTimeout(end, seconds * 1000)
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end()
  try {
    return await Promise.race([work(deadline.signal), ignored.promise])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }
}
