import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, expect, suite, test, vi } from 'vitest'
import { within } from './within.ts'

const HEED_MS = 2000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Work as it should be: it stops when it is told to, and says why. */
const heeding = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const stop = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
  })
const ignoring = (): Promise<never> => new Promise(() => {})
const failureOf = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error)

suite('work within a time', () => {
  test('gives its answer, and leaves neither a timer nor a listener behind', async () => {
    const { signal } = new AbortController()

    const answer = await within(10, signal, async () => 'sent')

    expect(answer).toBe('sent')
    expect(vi.getTimerCount()).toBe(0)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('fails with its own error, and leaves nothing behind either', async () => {
    const { signal } = new AbortController()

    const failure = await failureOf(within(10, signal, () => Promise.reject(new Error('refused'))))

    expect(failure).toEqual(new Error('refused'))
    expect(vi.getTimerCount()).toBe(0)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('is told to stop when its time is over, and not before', async () => {
    let isTold = false
    const end = failureOf(
      within(10, new AbortController().signal, (deadline) => {
        deadline.addEventListener('abort', () => {
          isTold = true
        })
        return heeding(deadline)
      }),
    )

    await vi.advanceTimersByTimeAsync(9999)
    const wasToldEarly = isTold
    await vi.advanceTimersByTimeAsync(1)

    expect([wasToldEarly, isTold]).toEqual([false, true])
    expect(await end).toMatchObject({ name: 'TimeoutError' })
  })

  test('is told to stop when the signal of its caller ends', async () => {
    const caller = new AbortController()
    const end = failureOf(within(10, caller.signal, heeding))

    caller.abort()

    expect(await end).toBeInstanceOf(Error)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('is told to stop from the beginning by a signal that has ended already', async () => {
    const failure = await failureOf(within(10, AbortSignal.abort(), heeding))

    expect(failure).toBeInstanceOf(Error)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('may still say how far it came, a little after it was told to stop', async () => {
    const end = within(10, new AbortController().signal, async (deadline) => {
      await failureOf(heeding(deadline))
      await new Promise((resolve) => {
        setTimeout(resolve, HEED_MS - 1)
      })
      return 'sent after all'
    })

    await vi.advanceTimersByTimeAsync(10_000 + HEED_MS - 1)

    expect(await end).toBe('sent after all')
  })

  test.each([
    ['its time', 10, () => new AbortController().signal],
    ['the end of its caller', 3600, () => AbortSignal.abort()],
  ])('is given up when it does not heed %s', async (_, seconds, signalOf) => {
    const end = failureOf(within(seconds, signalOf(), ignoring))

    await vi.advanceTimersByTimeAsync(10_000 + HEED_MS)

    expect(await end).toMatchObject({ message: expect.stringContaining('not heeded') })
    expect(vi.getTimerCount()).toBe(0)
  })

  test('harms nobody when it fails after it was given up', async () => {
    const { promise, reject } = Promise.withResolvers<never>()
    const end = failureOf(within(10, new AbortController().signal, () => promise))
    await vi.advanceTimersByTimeAsync(10_000 + HEED_MS)

    reject(new Error('late'))
    await vi.advanceTimersByTimeAsync(1)

    expect(await end).toMatchObject({ message: expect.stringContaining('not heeded') })
  })
})
