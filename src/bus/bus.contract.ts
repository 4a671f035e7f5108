import { expect, suite, test } from 'vitest'
import type { Bus, LiveFrame } from './bus.ts'

/** What every bus must do. `open` returns two ends of one bus: two processes, or twice the same where there is one. */
export function busContract(
  name: string,
  open: () => Promise<{ here: Bus; there: Bus; close: () => Promise<void> }>,
): void {
  suite(`${name}, as a bus,`, () => {
    test('carries a frame to every subscriber of every process', async () => {
      await using bus = await opened(open)
      const here = await collector(bus.here)
      const there = await collector(bus.there)
      const alsoThere = await collector(bus.there)

      await bus.here.publish(frame(1))

      for (const frames of [here, there, alsoThere]) expect(await frames.until(1)).toEqual([frame(1)])
    })

    test('keeps the order of one publisher', async () => {
      await using bus = await opened(open)
      const frames = await collector(bus.there)
      const sent = Array.from({ length: 300 }, (_, index) => frame(index + 1))

      await Promise.all(sent.map((one) => bus.here.publish(one)))

      expect(await frames.until(300)).toEqual(sent)
    })

    test('carries text of every script, quotes and zero bytes unchanged', async () => {
      await using bus = await opened(open)
      const frames = await collector(bus.there)
      const odd = {
        ...frame(1),
        user_id: `o'Иван "\\ \u0000\u2028 🚀`,
        frame: { type: 'x', text: `'; select 1 -- \u0000 😀` },
      }

      await bus.here.publish(odd)

      expect(await frames.until(1)).toEqual([odd])
    })

    test('says of a frame that is too large for it at least whose inbox changed', async () => {
      await using bus = await opened(open)
      const frames = await collector(bus.there)
      const large = { ...frame(7), frame: { type: 'notification', text: 'ж'.repeat(20_000) } }

      await bus.here.publish(large)

      const [got] = await frames.until(1)
      expect(got).toMatchObject({ company_id: 'acme', user_id: 'anna', seq: '7' })
      expect([large.frame, null]).toContainEqual(got?.frame)
    })

    test('is silent towards a subscriber that has stopped', async () => {
      await using bus = await opened(open)
      const stopped = await collector(bus.there)
      const going = await collector(bus.there)

      await stopped.stop()
      await bus.here.publish(frame(1))

      await going.until(1)
      expect(stopped.frames).toEqual([])
    })

    test('passes its check while it is open and refuses frames once it is closed', async () => {
      await using bus = await opened(open)

      await bus.here.check()
      await bus.here.close()

      await expect(bus.here.publish(frame(1))).rejects.toThrow('closed')
    })
  })
}

const frame = (seq: number): LiveFrame => ({
  company_id: 'acme',
  user_id: 'anna',
  seq: String(seq),
  frame: { type: 'notification', data: { seq } },
})

async function opened(open: () => Promise<{ here: Bus; there: Bus; close: () => Promise<void> }>) {
  const bus = await open()
  return { ...bus, [Symbol.asyncDispose]: bus.close }
}

/** Collects frames; `until(n)` waits for the n-th. */
async function collector(bus: Bus) {
  const frames: LiveFrame[] = []
  const { stop } = await bus.subscribe(
    (one) => frames.push(one),
    () => {},
  )
  const until = (count: number): Promise<LiveFrame[]> =>
    expect
      .poll(() => frames, { timeout: 5_000, interval: 5 })
      .toHaveLength(count)
      .then(() => frames)
  return { frames, until, stop }
}
