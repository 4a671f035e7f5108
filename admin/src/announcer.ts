/**
 * Speaks through the two live regions that the page has from the start (WAI-ARIA: a region that comes together with its
 * text is often not read). One message at a time; what comes in a burst is counted instead of read.
 */
export type Announcer = {
  polite: (text: string) => void
  /** Interrupts: only for what cannot wait. */
  urgent: (text: string) => void
}

const BURST_MS = 600
const CLEAR_MS = 5_000

export function announcer(status: HTMLElement, alert: HTMLElement, describeMany: (count: number) => string): Announcer {
  return { polite: speaker(status, describeMany), urgent: speaker(alert, describeMany) }
}

function speaker(region: HTMLElement, describeMany: (count: number) => string): (text: string) => void {
  let waiting: string[] = []
  let burst: ReturnType<typeof setTimeout> | undefined
  let clear: ReturnType<typeof setTimeout> | undefined

  return (text) => {
    waiting.push(text)
    burst ??= setTimeout(() => {
      const [only = ''] = waiting
      region.textContent = waiting.length === 1 ? only : describeMany(waiting.length)
      waiting = []
      burst = undefined
      clearTimeout(clear)
      clear = setTimeout(() => region.replaceChildren(), CLEAR_MS)
    }, BURST_MS)
  }
}
