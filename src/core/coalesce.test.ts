import { setTimeout as sleep } from 'node:timers/promises'
import { expect, suite, test } from 'vitest'
import { coalesced } from './coalesce.ts'

suite('coalesced calls', () => {
  test('of one turn share a run, and each gets its own answer', async () => {
    const runs: number[][] = []
    const double = coalesced(
      async (inputs: number[]) => {
        runs.push(inputs)
        return inputs.map((input) => input * 2)
      },
      { maxInputs: 10, maxRunning: 1 },
    )

    const answers = await Promise.all([1, 2, 3].map(double))

    expect(answers).toEqual([2, 4, 6])
    expect(runs).toEqual([[1, 2, 3]])
  })

  test('are cut into runs, of which only so many are in progress', async () => {
    let running = 0
    let most = 0
    const slow = coalesced(
      async (inputs: number[]) => {
        most = Math.max(most, ++running)
        await sleep(5)
        running -= 1
        expect(inputs.length).toBeLessThanOrEqual(2)
        return inputs
      },
      { maxInputs: 2, maxRunning: 2 },
    )

    const inputs = Array.from({ length: 11 }, (_, index) => index)

    expect(await Promise.all(inputs.map(slow))).toEqual(inputs)
    expect(most).toBe(2)
  })

  test('fail together with their run, and not with the next', async () => {
    let isBroken = true
    const call = coalesced(
      async (inputs: number[]) => {
        if (isBroken) throw new Error('away')
        return inputs
      },
      { maxInputs: 10, maxRunning: 1 },
    )

    await expect(Promise.allSettled([call(1), call(2)])).resolves.toMatchObject([
      { status: 'rejected' },
      { status: 'rejected' },
    ])
    isBroken = false
    expect(await call(3)).toBe(3)
  })

  test('wait a little for more, and no longer once all that can come are there', async () => {
    const runs: number[][] = []
    const gathering = (ms: number) =>
      coalesced(
        async (inputs: number[]) => {
          runs.push(inputs)
          return inputs
        },
        { maxInputs: 10, maxRunning: 1, gather: { ms, enough: () => 3 } },
      )
    const patient = gathering(3_600_000)
    const hasty = gathering(20)

    const all = [patient(1), patient(2)]
    await sleep(1)
    await Promise.all([...all, patient(3)])
    const some = hasty(4)
    await sleep(1)
    await Promise.all([some, hasty(5)])

    expect(runs).toEqual([
      [1, 2, 3],
      [4, 5],
    ])
  })
})
