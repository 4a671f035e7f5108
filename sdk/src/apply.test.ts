import { assert, integer, property, shuffledSubarray, record, array, boolean } from 'fast-check'
import { expect, suite, test } from 'vitest'
import { applyChange, knownUpTo, moveCursor, replaceAll, visible, type Known } from './apply.ts'
import type { Notification } from './protocol.ts'

const notification = (id: string, seq: number, more: Partial<Notification> = {}): Notification => ({
  id,
  type: 'job.done',
  title: `${id}@${seq}`,
  message: '',
  event_id: id,
  level: 'info',
  cta: null,
  data: {},
  seq,
  is_read: false,
  is_seen: false,
  is_archived: false,
  snoozed_until: null,
  created_at: '2026-01-01T00:00:00.000Z',
  ...more,
})

const live = (id: string, seq: number) => ({
  type: 'notification' as const,
  data: { notification: notification(id, seq) },
})
const replayed = (id: string, seq: number) => ({ ...live(id, seq), replayed: true })
const nothing = knownUpTo(0)

suite('a change', () => {
  test('that follows is taken and moves the cursor', () => {
    expect(applyChange(nothing, live('a', 1))).toMatchObject({ cursor: 1, isNew: true, hasGap: false })
  })

  test('that was had already changes nothing', () => {
    const known = applyChange(nothing, live('a', 1))

    const again = applyChange(known, live('a', 1))

    expect(again).toMatchObject({ cursor: 1, isNew: false, hasGap: false })
    expect(again.byId).toBe(known.byId)
  })

  test('is news also when a loaded list had it before', () => {
    const loaded: Known = { ...nothing, byId: new Map([['a', notification('a', 1)]]) }

    expect(applyChange(loaded, live('a', 1))).toMatchObject({ cursor: 1, isNew: true })
    expect(applyChange(loaded, replayed('a', 1))).toMatchObject({ cursor: 0, isNew: true })
  })

  test('is no news when a frame beyond a gap told of it before', () => {
    const known = applyChange(nothing, live('c', 3))

    const repaired = applyChange(known, replayed('c', 3))

    expect(repaired.isNew).toBe(false)
    expect(moveCursor(repaired, 3)).toMatchObject({ cursor: 3, told: new Map() })
  })

  test('beyond a gap is shown, and the gap is noticed', () => {
    const after = applyChange(nothing, live('c', 3))

    expect(after).toMatchObject({ cursor: 0, isNew: true, hasGap: true })
    expect(after.byId.get('c')).toBeDefined()
  })

  test('of a replay jumps without a gap', () => {
    expect(applyChange(nothing, replayed('c', 3))).toMatchObject({ cursor: 0, isNew: true, hasGap: false })
  })

  test('older than what is known of the same notification is dropped', () => {
    const known = applyChange(nothing, replayed('a', 5))

    expect(applyChange(known, replayed('a', 4)).byId.get('a')?.seq).toBe(5)
  })
})

suite('any delivery of changes', () => {
  const history = array(record({ id: integer({ min: 0, max: 5 }), isLost: boolean() }), { maxLength: 30 })

  test('ends, after a replay from the cursor, in the state of the inbox', () => {
    assert(
      property(history, shuffledSubarray([0, 1, 2, 3, 4], { minLength: 0 }), (changes, repeats) => {
        const inbox = new Map<string, number>()
        let known: Known = nothing
        const seen: number[] = []
        for (const [index, { id, isLost }] of changes.entries()) {
          inbox.set(`n${id}`, index + 1)
          if (isLost) continue
          for (let times = repeats.includes(index % 5) ? 2 : 1; times > 0; times--) {
            const applied = applyChange(known, live(`n${id}`, index + 1))
            if (applied.isNew) seen.push(index + 1)
            known = applied
          }
        }
        const missed = [...inbox].filter(([, seq]) => seq > known.cursor).sort(([, a], [, b]) => a - b)
        for (const [id, seq] of missed) {
          const applied = applyChange(known, replayed(id, seq))
          if (applied.isNew) seen.push(seq)
          known = applied
        }

        expect(Object.fromEntries([...known.byId].map(([id, { seq }]) => [id, seq]))).toEqual(Object.fromEntries(inbox))
        expect(new Set(seen).size).toBe(seen.length)
      }),
    )
  })
})

suite('the list', () => {
  test('after a reset is what was loaded, with what changed since', () => {
    const byId = new Map([
      ['gone', notification('gone', 3)],
      ['changed', notification('changed', 12)],
      ['old', notification('old', 2)],
    ])

    const after = replaceAll(byId, [notification('changed', 9), notification('old', 10), notification('new', 8)], 10)

    expect(new Set([...after.values()].map(({ title }) => title))).toEqual(new Set(['changed@12', 'new@8', 'old@10']))
  })

  test('is newest first, without what is archived or snoozed', () => {
    const shown = visible(
      new Map(
        [
          notification('a', 1),
          notification('b', 2, { created_at: '2026-01-02T00:00:00.000Z' }),
          notification('c', 3, { is_archived: true }),
          notification('d', 4, { snoozed_until: '2027-01-01T00:00:00.000Z' }),
          notification('e', 5),
        ].map((one) => [one.id, one]),
      ),
    )

    expect(shown.map(({ id }) => id)).toEqual(['b', 'e', 'a'])
  })
})
