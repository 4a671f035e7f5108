import { expect, suite, test } from 'vitest'
import { slotPool } from './slot-pool.ts'

suite('slots in hand', () => {
  test('are used from their time on, each once', () => {
    const pool = slotPool()
    pool.add([30, 10, 20])

    expect(pool.take(5, 9)).toEqual([])
    expect(pool.nextAt(9)).toBe(10)
    expect(pool.take(1, 20)).toEqual([10])
    expect(pool.take(5, 25)).toEqual([20])
    expect(pool.nextAt(25)).toBe(30)
    expect(pool.take(5, 40)).toEqual([30])
    expect(pool.nextAt(40)).toBeNull()
  })

  test('are worth nothing when they are old, also those that were given back', () => {
    const pool = slotPool()
    pool.add([0, 50])
    pool.take(1, 0)
    pool.giveBack(1, 10)

    expect(pool.due(60)).toBe(2)
    expect(pool.due(61)).toBe(1)
    expect(pool.nextAt(101)).toBeNull()
  })

  test('can be given back and used by others', () => {
    const pool = slotPool()
    pool.add([0, 5])
    pool.take(2, 5)
    pool.giveBack(1, 6)

    expect([pool.due(6), pool.take(2, 6), pool.take(1, 6)]).toEqual([1, [6], []])
  })

  test('can be dropped', () => {
    const pool = slotPool()
    pool.add([0, 5])
    pool.clear()

    expect(pool.due(5)).toBe(0)
  })
})
