import { expect, suite, test } from 'vitest'
import { windowCounter } from './window-counter.ts'

suite('a window counter', () => {
  test('counts each key alone, and begins anew when the window is over', () => {
    let now = 0
    const counter = windowCounter(1000, 10, () => now)
    counter.count('a')
    now = 400

    expect(counter.count('a')).toEqual({ count: 2, endsInMs: 600 })
    expect(counter.count('b')).toEqual({ count: 1, endsInMs: 1000 })
    now = 1000
    expect(counter.count('a')).toEqual({ count: 1, endsInMs: 1000 })
  })

  test('keeps no more keys than it may, and forgets the oldest window first', () => {
    let now = 0
    const counter = windowCounter(1000, 2, () => now)
    counter.count('a')
    counter.count('b')
    now = 1000
    counter.count('a')
    counter.count('c')

    expect(counter.count('a').count).toBe(2)
    expect(counter.count('b').count).toBe(1)
  })
})
