import { expect, suite, test } from 'vitest'
import { AppError, type FieldError } from '../core/errors.ts'
import { readEvent } from './event-forms.ts'

const event = { user_id: 'anna', type: 'job.done', title: 'Ready', body: 'All rows.' }
const domain = {
  event_id: 'f-1',
  event_type: 'film_released',
  source: 'films',
  occurred_at: '2026-03-01T09:30:00Z',
  payload: { user_ids: ['anna'] },
}

suite('the body of an event', () => {
  test('tells its form by its fields, and says the same in each', () => {
    const cloud = { specversion: '1.0', id: '1', source: '/films', type: 'film_released', data: { user_ids: ['anna'] } }

    expect(readEvent({ ...event, user_id: 7 }).event).toStrictEqual({ ...event, user_id: '7', data: {} })
    expect(readEvent(domain).event).toStrictEqual({
      id: 'f-1',
      type: 'film_released',
      source: 'films',
      occurred_at: '2026-03-01T09:30:00.000Z',
      data: domain.payload,
    })
    expect(readEvent({ ...cloud, partitionkey: 'x' }).event).toStrictEqual({
      id: '/films#1',
      type: 'film_released',
      source: '/films',
      data: cloud.data,
    })
  })

  test('as a CloudEvent has an id that no other source and id give', () => {
    expect(cloudIdOf('/films', 'a#b')).toBe('/films#a#b')
    expect(cloudIdOf('/films', '..')).toBe('/films#..')
    const ids = [
      ['a#b', 'c'],
      ['a', 'b#c'],
      ['a#b#c', 'd'],
      ['a#b', 'c#d'],
      ['3#a#b', 'c'],
    ].map(([source, id]) => cloudIdOf(source!, id!))
    expect(new Set(ids).size).toBe(ids.length)
  })

  test.each<[string, object, FieldError[]]>([
    [
      'without its fields',
      { type: 'job.done' },
      [
        { field: 'user_id', message: 'is required' },
        { field: 'title', message: 'is required' },
        { field: 'body', message: 'is required' },
      ],
    ],
    ['with an empty title', { ...event, title: '' }, [{ field: 'title', message: 'must not be empty' }]],
    [
      'with too long a title',
      { ...event, title: 'x'.repeat(301) },
      [{ field: 'title', message: 'must have at most 300 characters' }],
    ],
    [
      'with a text for a number',
      { ...event, title: 5 },
      [{ field: 'title', message: 'Invalid input: expected string, received number' }],
    ],
    ['with a field too many', { ...event, tilte: 'x' }, [{ field: 'tilte', message: 'is not a known property' }]],
    ...['.', '..'].map((id): [string, object, FieldError[]] => [
      `with the id ${id}, which no address can hold`,
      { ...event, id },
      [{ field: 'id', message: 'must not be "." or "..": no address could name it' }],
    ]),
    [
      'with no time where one should be',
      { ...event, send_after: 'tomorrow' },
      [{ field: 'send_after', message: 'expected a time such as 2026-03-01T09:30:00Z' }],
    ],
    [
      'with an address that runs a script',
      { ...event, cta: { label: 'x', url: 'javascript:alert(1)' } },
      [{ field: 'cta.url', message: 'expected an http, https, mailto or tel URL, or a path of this site' }],
    ],
    [
      'with a second header in its title',
      { ...event, title: 'Ready\r\nBcc: boris@example.org' },
      [{ field: 'title', message: 'must be one line' }],
    ],
    [
      'with text that turns the reading direction',
      { ...event, body: 'a\u202eb' },
      [{ field: 'body', message: 'must not hold control or text-reordering characters' }],
    ],
    [
      'of the domain form without its data',
      { ...domain, payload: undefined },
      [{ field: 'payload', message: 'is required' }],
    ],
    [
      'of the domain form with data that is no object',
      { ...domain, payload: [] },
      [{ field: 'payload', message: 'expected an object' }],
    ],
  ])('%s is refused, naming each field once', (_, body, fields) => {
    expect(faultsOf(body)).toEqual(fields)
  })

  test('with a number that is read as infinite is refused, wherever in its data that stands', () => {
    const payload: unknown = JSON.parse('{"count":1,"total":{"sums":[1,-1e999]}}')

    expect(() => readEvent({ ...domain, payload })).toThrow('payload.total: holds a number that is too large')
  })
})

function faultsOf(body: object): readonly FieldError[] {
  try {
    readEvent(JSON.parse(JSON.stringify(body)))
    return []
  } catch (error) {
    if (error instanceof AppError) return error.fields
    throw error
  }
}

const cloudIdOf = (source: string, id: string) =>
  readEvent({ specversion: '1.0', id, source, type: 'film_released', data: {} }).event.id
