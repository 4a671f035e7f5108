/** How often something happened in the current window of time. */
export type WindowCount = { count: number; endsInMs: number }

/**
 * Counts by key in windows of `windowMs`, each beginning with the first count. At most `maxKeys` are kept: beyond that the
 * oldest are forgotten, which lets through rather than shuts out.
 */
export function windowCounter(
  windowMs: number,
  maxKeys: number,
  clock: () => number = () => performance.now(),
): { count: (key: string) => WindowCount } {
  const windows = new Map<string, { count: number; endMs: number }>()

  return {
    count(key) {
      const now = clock()
      const known = windows.get(key)
      if (known && known.endMs > now) {
        known.count += 1
        return { count: known.count, endsInMs: known.endMs - now }
      }
      windows.delete(key) // it goes to the end: the first is always the oldest
      if (windows.size >= maxKeys) forgetOldest()
      windows.set(key, { count: 1, endMs: now + windowMs })
      return { count: 1, endsInMs: windowMs }
    },
  }

  function forgetOldest(): void {
    const oldest = windows.keys().next()
    if (!oldest.done) windows.delete(oldest.value)
  }
}
