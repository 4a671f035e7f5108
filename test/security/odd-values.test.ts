import { afterAll, expect, suite, test } from 'vitest'
import { SCOPES } from '../../src/core/scope.ts'
import { exampleBody, keyOf, OWNER, prepare, seedOf } from './examples.ts'
import { documented, filled, fromSomewhere, startApi, type Operation } from './operations.ts'

const server = await startApi()
afterAll(() => server.close())
await prepare(server)
const { operations } = await documented(server)
const key = await keyOf(server, OWNER.companyId, SCOPES)
const token = await server.token(OWNER.userId, { company_id: OWNER.companyId })

const call = ({ method, access }: Operation, path: string, body: unknown) =>
  server.call(method, path, body, { authorization: `Bearer ${access === 'user' ? token : key}`, ...fromSomewhere() })

const ODD_TEXTS = [
  '',
  ' ',
  '0',
  'null',
  '\u0000',
  '\ud800',
  '\u202e',
  '😀'.repeat(70),
  'x'.repeat(10_000),
  "'; drop table event; --",
  '%',
  '{{ 1 | divided_by: 0 }}',
  '{% for i in (1..1000000000) %}',
  '0000-01-01T00:00:00Z',
  '1000-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999999999Z',
  '2026-02-30T00:00:00Z',
  'infinity',
  '9223372036854775808',
  '__proto__',
  'toString',
]
const ODD_VALUES = [
  ...ODD_TEXTS,
  null,
  true,
  -1,
  0.5,
  1e308,
  2 ** 53,
  2 ** 63,
  [],
  [[]],
  {},
  { a: {} },
  [null],
  ['', ''],
]

/** The value with each of its members, one at a time, replaced. */
function* replaced(value: unknown, odd: unknown): Generator {
  yield odd
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) for (const inner of replaced(item, odd)) yield value.with(i, inner)
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value))
      for (const inner of replaced(item, odd)) yield { ...value, [name]: inner }
  }
}

/** Members that an example leaves out, and that take a value of their own. */
const OPTIONAL: Record<string, string[]> = {
  'POST /api/v1/events': [
    'id',
    'level',
    'channels',
    'created_at',
    'send_after',
    'expires_at',
    'collapse_key',
    'cancellation_key',
    'ordering_key',
    'dedupe_key',
    'dedupe_window_seconds',
    'initiated_by',
  ],
  'PUT /api/v1/users/{user_id}': ['time_zone'],
  'POST /api/v1/keys': ['expires_at'],
  'POST /api/v1/event-types': [
    'allowed_channels',
    'template_code',
    'level',
    'lane',
    'category',
    'collapse_path',
    'dedupe_path',
    'ordering_path',
    'dedupe_window_seconds',
    'time_to_live_seconds',
  ],
  'PUT /api/v1/event-types/{type}': ['version'],
  'PUT /api/v1/templates/{id}': ['template_code', 'channel', 'locale', 'version'],
  'POST /api/v1/notifications/read-all': ['before'],
  'POST /api/v1/notifications/seen-all': ['before'],
}

suite('an odd value', () => {
  test.each(operations.filter(({ body }) => body !== null))(
    'in the body of $name is no error of ours',
    async (operation) => {
      const id = operation.params.length > 0 ? await seedOf(operation)(server, key) : ''
      const example = exampleBody(operation, id) as object
      const optional = OPTIONAL[operation.name] ?? []

      const faults: string[] = []
      for (const odd of ODD_VALUES) {
        for (const body of [...replaced(example, odd), ...optional.map((name) => ({ ...example, [name]: odd }))]) {
          const { status } = await call(operation, filled(operation, id), body)
          if (status >= 500) faults.push(JSON.stringify(body).slice(0, 1000))
        }
      }

      expect(faults).toEqual([])
    },
  )

  test.each(operations.filter(({ params }) => params.length > 0))(
    'in the path of $name is no error of ours',
    async (operation) => {
      for (const odd of ODD_TEXTS.filter((it) => it.isWellFormed() && it !== '')) {
        const { status } = await call(operation, filled(operation, odd), exampleBody(operation, odd))

        expect([odd, status < 500]).toEqual([odd, true])
      }
    },
  )

  test.each(operations.filter(({ query }) => query.length > 0))(
    'in the query of $name is no error of ours',
    async (operation) => {
      for (const name of operation.query) {
        for (const odd of ODD_TEXTS.filter((it) => it.isWellFormed())) {
          const query = new URLSearchParams({ [name]: odd })
          const { status } = await call(operation, `${filled(operation)}?${query}`, undefined)

          expect([name, odd, status < 500]).toEqual([name, odd, true])
        }
      }
    },
  )
})
