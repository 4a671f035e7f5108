import { expect, suite, test } from 'vitest'
import { collapseKeyOf, dedupeOf, orderingKeyOf } from './event-options.ts'
import type { Event } from './event.ts'
import type { EventType } from './event-type.ts'

const type: EventType = {
  id: '1',
  company_id: '',
  version: 1,
  type: 'job.progress',
  recipients: { path: 'user_id' },
  channels: ['inbox'],
  collapse_path: 'data.job_id',
}
const event = (jobId: string | number): Event => ({ type: 'job.progress', data: { job_id: jobId } })

suite('a key at the path of the type', () => {
  test('is none where the data hold no text, or an empty one, which events of different facts share', () => {
    const paths = { collapse_path: 'data.id', dedupe_path: 'data.id', ordering_path: 'data.id' }
    const keysOf = (data: Event['data']) => {
      const given = { type: 'job.progress', data }
      const all = { ...type, ...paths }
      return [collapseKeyOf(given, all), dedupeOf(given, all)?.key ?? null, orderingKeyOf(given, all)]
    }

    expect(keysOf({ id: 0 })).toEqual(['job.progress:0', '0', '0'])
    for (const data of [{}, { id: null }, { id: {} }, { id: '' }]) expect(keysOf(data)).toEqual([null, null, null])
  })
})

suite('a collapse key', () => {
  test('is that of the event, or made of its type and the value at the path', () => {
    expect(collapseKeyOf({ ...event(7), collapse_key: 'own' }, type)).toBe('own')
    expect(collapseKeyOf(event(7), type)).toBe('job.progress:7')
    expect(collapseKeyOf({ type: 'job.progress', data: {} }, type)).toBeNull()
  })

  test('differs where long values differ, and is never that of a short one', () => {
    const long = 'x'.repeat(300)
    const keys = [`${long}1`, `${long}2`].map((value) => collapseKeyOf(event(value), type)!)

    expect(new Set(keys).size).toBe(2)
    expect(keys.map(({ length }) => length)).toEqual([256, 256])
    expect(collapseKeyOf(event('x'.repeat(242)), type)).toHaveLength(255)
  })
})
