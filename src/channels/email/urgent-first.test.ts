import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, suite, test } from 'vitest'
import { urgentFirst, type Urgency } from './urgent-first.ts'

const never = new AbortController().signal

/** One place, which somebody has. Who waits is named in `order` when he gets it, and has it for a turn. */
function occupied() {
  const inTurn = urgentFirst(1)
  const order: string[] = []
  const { promise: isFree, resolve: free } = Promise.withResolvers<void>()
  const first = inTurn('patient', never, () => isFree)
  const wait = (name: string, urgency: Urgency, signal = never): Promise<void> =>
    inTurn(urgency, signal, async () => {
      order.push(name)
      await nextTurn()
    })
  return { order, wait, first, free }
}

suite('a place that becomes free', () => {
  test('is for an urgent one, whenever he came, then for a patient one, and for each kind in order', async () => {
    const { order, wait, free } = occupied()
    const all = [wait('a', 'patient'), wait('b', 'patient'), wait('C', 'urgent'), wait('D', 'urgent')]

    free()
    await Promise.all(all)

    expect(order).toEqual(['C', 'a', 'D', 'b'])
  })

  test('is for nobody who gave up', async () => {
    const { order, wait, first, free } = occupied()
    const stop = new AbortController()
    const [impatient, late] = [wait('a', 'urgent', stop.signal), wait('b', 'urgent', AbortSignal.abort())]
    const rest = wait('c', 'patient')
    const ends = Promise.allSettled([impatient, late])
    stop.abort()

    free()
    await Promise.all([first, rest])

    expect(order).toEqual(['c'])
    expect(await ends).toMatchObject([{ reason: { code: 'EABORT' } }, { reason: { code: 'EABORT' } }])
  })

  test('is not lost with who fails', async () => {
    const inTurn = urgentFirst(1)

    await expect(inTurn('urgent', never, () => Promise.reject(new Error('no')))).rejects.toThrow('no')

    expect(await inTurn('patient', never, async () => 'done')).toBe('done')
  })
})
