import { afterAll, expect, suite, test } from 'vitest'
import { SCOPES } from '../../src/core/scope.ts'
import { exampleBody, keyOf, OWNER, prepare, seedOf } from './examples.ts'
import { documented, filled, fromSomewhere, startApi, type Operation, type Schema } from './operations.ts'

const server = await startApi()
afterAll(() => server.close())
await prepare(server)
const { operations, schemas } = await documented(server)
const key = await keyOf(server, OWNER.companyId, SCOPES)
const token = await server.token(OWNER.userId, { company_id: OWNER.companyId })
const columns = await columnNames()

const idFor = async (operation: Operation) => (operation.params.length > 0 ? seedOf(operation)(server, key) : '')
const call = (operation: Operation, id: string, body: unknown) =>
  server.call(operation.method, filled(operation, id), body, {
    authorization: `Bearer ${operation.access === 'user' ? token : key}`,
    ...fromSomewhere(),
  })

async function columnNames(): Promise<string[]> {
  const rows = await server.database.db.query<{ name: string }>(
    `select distinct column_name as name from information_schema.columns where table_schema = 'public' order by 1`,
  )
  return [...rows.map(({ name }) => name), 'is_platform', 'isPlatform', 'companyId', 'role', 'roles']
}

type Place = { path: string; known: string[]; put: (name: string) => unknown }

/** Every object in a body that has known properties only, and the body with one more property there. */
function places(schema: Schema, value: unknown, path = '', rebuilt: (value: unknown) => unknown = (it) => it): Place[] {
  const resolved = resolve(schema, value)
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, i) =>
      places(resolved.items ?? {}, item, `${path}[${i}]`, (changed) => rebuilt(value.with(i, changed))),
    )
  }
  if (typeof value !== 'object' || value === null || !resolved.properties) return []
  const inner = Object.entries(value).flatMap(([name, item]) =>
    places(resolved.properties?.[name] ?? {}, item, path === '' ? name : `${path}.${name}`, (changed) =>
      rebuilt({ ...value, [name]: changed }),
    ),
  )
  if (resolved.additionalProperties !== false) return inner
  return [
    { path, known: Object.keys(resolved.properties), put: (name) => rebuilt({ ...value, [name]: 'x' }) },
    ...inner,
  ]
}

/** The branch that the value is meant for: the one that knows all its members. */
function resolve(schema: Schema, value: unknown): Schema {
  if (schema.$ref !== undefined) return resolve(schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}, value)
  const branches = (schema.anyOf ?? []).map((branch) => resolve(branch, value))
  const names = typeof value === 'object' && value !== null ? Object.keys(value) : []
  return (
    branches.find(({ properties, items }) => (Array.isArray(value) ? items : names.every((it) => properties?.[it]))) ??
    schema
  )
}

suite('a body with a property that is none of the API', () => {
  const withBodies = operations.filter(({ body }) => body !== null)

  test.each(withBodies)('$name refuses it, wherever it stands, and names it', async (operation) => {
    const id = await idFor(operation)
    const body = exampleBody(operation, id)
    const all = places(operation.body ?? {}, body)
    expect(all.length).toBeGreaterThan(0)
    expect((await call(operation, id, body)).status).toBeLessThan(300)

    for (const { path, known, put } of all) {
      const unknown = columns.filter((name) => !known.includes(name))
      expect(unknown.length).toBeGreaterThan(30)
      for (const name of unknown) {
        const answer = await call(operation, id, put(name))
        const field = path === '' ? name : `${path}.${name}`

        expect([field, answer.status]).toEqual([field, 400])
        expect(answer.body.errors.map((error: { field: string }) => error.field)).toEqual([field])
      }
    }
  })

  const withoutBodies = operations.filter(
    ({ body, method }) => body === null && ['POST', 'PUT', 'DELETE'].includes(method),
  )

  test.each(withoutBodies)('$name takes no body, so it refuses any', async (operation) => {
    const id = await idFor(operation)
    for (const name of columns) {
      const answer = await call(operation, id, { [name]: 'x' })

      expect([name, answer.status]).toEqual([name, 400])
    }
  })

  test.each(operations.filter(({ method, access }) => method === 'GET' && access !== 'public'))(
    '$name takes no company or user from the address',
    async (operation) => {
      const path = filled(operation, await idFor(operation))
      const answer = await server.call('GET', `${path}?company_id=other`, undefined, {
        authorization: `Bearer ${operation.access === 'user' ? token : key}`,
        ...fromSomewhere(),
      })

      // Refused where there is a query at all, and never heard otherwise.
      expect([200, 400]).toContain(answer.status)
    },
  )
})
