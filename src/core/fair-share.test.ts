import { expect, suite, test } from 'vitest'
import { fairShare } from './fair-share.ts'

suite('a fair share', () => {
  test('give everything to him who is alone', () => {
    const { share } = fairShare<string>()

    expect([share('a', 5, 0), share('a', 1, 1), share('a', 1, 2)]).toEqual([5, 1, 1])
  })

  test('alternate where there is one at a time', () => {
    const { share } = fairShare<string>()
    const served: string[] = []
    for (let now = 0; now < 200; now += 33) {
      let left = 1
      // `a` is always first to ask, and asks again at once.
      for (const who of ['a', 'a', 'b', 'a', 'b']) {
        const count = share(who, left, now)
        left -= count
        if (count > 0) served.push(who)
      }
    }

    expect(served).toEqual(['a', 'b', 'a', 'b', 'a', 'b', 'a'])
  })

  test('divide what there is more of', () => {
    const { share } = fairShare<string>()
    share('b', 0, 0)

    expect(share('a', 7, 0)).toBe(4)
    share('b', 0, 0)
    expect(share('a', 7, 0)).toBe(3)
  })

  test('are missed by him who does not come', () => {
    const { share } = fairShare<string>()
    share('a', 1, 0)
    share('b', 0, 0)

    expect([share('a', 1, 1), share('a', 1, 6), share('a', 1, 17)]).toEqual([0, 0, 1])
  })

  test('are left by him who needs nothing', () => {
    const { share, leave } = fairShare<string>()
    share('a', 1, 0)
    share('b', 0, 0)
    leave('b')

    expect(share('a', 1, 1)).toBe(1)
  })
})
