import { afterEach, expect, suite, test, vi } from 'vitest'
import { watermarks } from './watermarks.ts'

const PLACE = { channel: 'email', lane: 'p2p' } as const
const claimed = (seconds: number) => [
  { priority: 1, run_at: new Date(Date.UTC(2030, 0, 1, 0, 0, seconds)).toISOString() },
]

suite('the watermark of a place', () => {
  afterEach(() => vi.restoreAllMocks())

  test('is a little behind what was claimed last', () => {
    const marks = watermarks(() => 0)
    marks.note(PLACE, claimed(30))
    marks.note(PLACE, claimed(40))

    expect(marks.since(PLACE, 1)).toBe('2030-01-01T00:00:38.000Z')
    expect(marks.since(PLACE, 2)).toBe('-infinity')
    expect(marks.since({ ...PLACE, lane: 'retry' }, 1)).toBe('-infinity')
  })

  test('hides nothing for longer than five seconds, however busy the place is', () => {
    let nowMs = 1000
    const marks = watermarks(() => nowMs)
    marks.note(PLACE, claimed(30))
    nowMs += 4999
    marks.note(PLACE, claimed(34))
    const before = marks.since(PLACE, 1)
    nowMs += 1

    const after = marks.since(PLACE, 1)

    expect([before, after]).toEqual(['2030-01-01T00:00:32.000Z', '-infinity'])
  })

  test('does not care about the clock on the wall', () => {
    const marks = watermarks()
    marks.note(PLACE, claimed(30))
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000)

    expect(marks.since(PLACE, 1)).toBe('2030-01-01T00:00:28.000Z')
  })

  test('is gone when work came back', () => {
    const marks = watermarks(() => 0)
    marks.note(PLACE, claimed(30))

    marks.forget()

    expect(marks.since(PLACE, 1)).toBe('-infinity')
  })
})
