import { expect, suite, test, vi } from 'vitest'
import { turns, type Span, type Taken } from './turns.ts'

const PLACE = { channel: 'email', lane: 'p2p' } as const
const NORMAL = 1
const COMMON = '0'
/** Flows are numbered by company and campaign. */
const flow = (company: number, campaign = 1): string => String((BigInt(company) << 32n) | BigInt(campaign))
const at = (seconds: number): string => new Date(Date.UTC(2030, 0, 1, 0, 0, seconds)).toISOString()
const took = (of: string, count: number, seconds = 30): Taken => ({
  priority: NORMAL,
  flow: of,
  count,
  last: at(seconds),
})
const single = (spans: readonly Span[], of: string): Span | undefined =>
  spans.find(({ priority, from, to }) => priority === NORMAL && from === of && to === of)
const gaps = (spans: readonly Span[]): string[] =>
  spans.filter(({ from, to }) => from !== to).map(({ from, to }) => `${from}-${to}`)

function clock() {
  let ms = 1000
  return { now: () => ms, pass: (by: number) => (ms += by) }
}

suite('a claim that is too small for all', () => {
  test('looks at those without a share too, after all others, so that it never ends with nothing', () => {
    const turn = turns(() => 0)
    const flows = [flow(7, 1), flow(7, 2), flow(7, 3), flow(8)]
    for (const each of flows) {
      const spans = turn.spans(PLACE, [NORMAL], 1)
      turn.note(PLACE, spans, 1, [took(each, 1)])
    }

    const spans = turn.spans(PLACE, [NORMAL], 1)

    for (const each of flows) expect(single(spans, each)).toMatchObject({ quota: 1 })
  })
})

suite('the watermark of a flow', () => {
  test('is a little behind what was claimed last', () => {
    const turn = turns(() => 0)
    turn.note(PLACE, [], 50, [took(COMMON, 1, 30), took(flow(7), 1, 40)])

    const spans = turn.spans(PLACE, [NORMAL], 50)

    expect(single(spans, COMMON)?.since).toBe(at(28))
    expect(single(spans, flow(7))?.since).toBe(at(38))
    expect(single(turn.spans({ ...PLACE, lane: 'retry' }, [NORMAL], 50), COMMON)?.since).toBe('-infinity')
  })

  test('hides nothing for longer than five seconds, however busy the place is', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    turn.note(PLACE, [], 1, [took(COMMON, 1, 30)])
    pass(4999)
    turn.note(PLACE, [], 1, [took(COMMON, 1, 34)])
    const before = single(turn.all(PLACE), COMMON)
    pass(1)

    const after = single(turn.all(PLACE), COMMON)

    expect([before?.since, after?.since]).toEqual([at(32), '-infinity'])
  })

  test('hides nothing for longer because a claim was under way when the five seconds were over', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    turn.note(PLACE, [], 1, [took(COMMON, 1, 30)])
    pass(4999)
    const [claim, look] = [turn.spans(PLACE, [NORMAL], 1), turn.all(PLACE)]
    pass(2)

    turn.note(PLACE, claim, 1, [took(COMMON, 1, 34)])
    turn.swept(PLACE, look)

    expect(single(turn.all(PLACE), COMMON)?.since).toBe('-infinity')
  })

  test('is not gone behind by every claim, as each would step over what was claimed a moment ago', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    turn.note(PLACE, [], 50, [took(COMMON, 1, 30), took(flow(7), 1, 30)])
    const since = (): string | undefined => single(turn.spans(PLACE, [NORMAL], 50), flow(7))?.since

    const looks = [since(), since(), pass(199) && since(), pass(1) && since()]

    expect(looks).toEqual([at(28), at(30), at(30), at(28)])
    expect(single(turn.all(PLACE), flow(7))?.since).toBe(at(28))
  })

  test('is forgotten by one of the claims that are under way, and by the next if that fails', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    turn.note(PLACE, [], 50, [took(COMMON, 1, 30), took(flow(7), 1, 30)])
    const since = (): string | undefined => single(turn.spans(PLACE, [NORMAL], 50), flow(7))?.since
    pass(5000)

    const looks = [since(), since(), pass(200) && since()]

    expect(looks).toEqual(['-infinity', at(30), '-infinity'])
  })

  test('counts again when everything was looked at and nothing left', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    turn.note(PLACE, [], 50, [took(COMMON, 1, 30)])
    pass(5000)

    turn.swept(PLACE, turn.all(PLACE))

    expect(single(turn.all(PLACE), COMMON)?.since).toBe(at(28))
  })

  test('does not care about the clock on the wall', () => {
    const turn = turns()
    turn.note(PLACE, [], 50, [took(COMMON, 1, 30)])
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000)

    expect(single(turn.all(PLACE), COMMON)?.since).toBe(at(28))
    vi.restoreAllMocks()
  })

  test('is gone when work came back', () => {
    const turn = turns(() => 0)
    turn.note(PLACE, [], 50, [took(COMMON, 1), took(flow(7), 1)])

    turn.forget()

    expect(turn.all(PLACE).every(({ since }) => since === '-infinity')).toBe(true)
  })
})

suite('the spans of a claim', () => {
  test('leave out nothing, and look at nothing twice', () => {
    const turn = turns(() => 0)
    for (const company of [1, 2, 3, 2 ** 31 - 1]) turn.note(PLACE, [], 50, [took(flow(company), 50)])

    for (const spans of [
      turn.spans(PLACE, [NORMAL], 50),
      turn.all(PLACE).filter(({ priority }) => priority === NORMAL),
    ]) {
      const inOrder = spans.toSorted((a, b) => (BigInt(a.from) < BigInt(b.from) ? -1 : 1))
      expect(inOrder[0]?.from).toBe('0')
      expect(inOrder.at(-1)?.to).toBe(String(2n ** 63n - 1n))
      for (const [index, { to }] of inOrder.slice(0, -1).entries()) {
        expect(inOrder[index + 1]?.from).toBe(String(BigInt(to) + 1n))
      }
    }
  })

  test('leave out nothing either where there are more campaigns than places', () => {
    const turn = turns(() => 0)
    for (let campaign = 1; campaign <= 9; campaign++) {
      const spans = turn.spans(PLACE, [NORMAL], 1)
      turn.note(PLACE, spans, 1, [took(flow(3, campaign), 1)])
    }

    const spans = turn.spans(PLACE, [NORMAL], 1)

    for (let campaign = 1; campaign <= 9; campaign++) expect(single(spans, flow(3, campaign))?.quota).toBe(1)
  })

  test('look for newcomers from behind the last one, so that each gets its turn', () => {
    const turn = turns(() => 0)
    turn.note(PLACE, [], 1, [took(flow(5), 1)])

    const [first] = gaps(turn.spans(PLACE, [NORMAL], 1))

    expect(first).toBe(`${BigInt(flow(5)) + 1n}-${2n ** 63n - 1n}`)
  })

  test('forget who has been quiet, sooner where little was claimed, but never what is common', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    turn.note(PLACE, [], 5000, [took(flow(1), 10), took(flow(2), 2000)])
    pass(10_001)
    const later = turn.all(PLACE)
    pass(600_000)

    const muchLater = turn.all(PLACE)

    expect([COMMON, flow(1), flow(2)].map((of) => single(later, of) !== undefined)).toEqual([true, false, true])
    expect([COMMON, flow(1), flow(2)].map((of) => single(muchLater, of) !== undefined)).toEqual([true, false, false])
  })

  test('know no more than a hundred flows, those that had work last', () => {
    const { now, pass } = clock()
    const turn = turns(now)
    for (let company = 1; company <= 300; company++) {
      turn.note(PLACE, [], 1, [took(flow(company), 1)])
      pass(1)
    }

    const spans = turn.spans(PLACE, [NORMAL], 50)

    expect(spans.length).toBeLessThanOrEqual(201)
    expect([flow(300), flow(250), flow(100)].map((of) => single(spans, of) !== undefined)).toEqual([true, true, false])
  })
})

suite('a claim', () => {
  test('may have left something when it was full, or a span was', () => {
    const turn = turns(() => 0)
    const spans = (quota: number): Span[] => [
      { priority: NORMAL, from: flow(1), to: flow(1), since: '-infinity', quota },
      { priority: NORMAL, from: flow(2), to: flow(2), since: '-infinity', quota: 50 },
    ]

    expect(turn.note(PLACE, spans(10), 50, [took(flow(1), 10)])).toBe(true)
    expect(turn.note(PLACE, spans(25), 50, [took(flow(1), 10), took(flow(2), 40)])).toBe(true)
    expect(turn.note(PLACE, spans(25), 50, [took(flow(1), 10), took(flow(2), 39)])).toBe(false)
    expect(turn.note(PLACE, spans(25), 50, [])).toBe(false)
  })
})
