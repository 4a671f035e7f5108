import { afterAll, expect, suite, test } from 'vitest'
import { SCOPES } from '../../src/core/scope.ts'
import type { Answer } from '../app.ts'
import { putNotification } from '../inbox.ts'
import { CANARY, exampleBody, keyOf, MAKES_ITS_OWN, OWNER, prepare, seedOf } from './examples.ts'
import { documented, filled, fromSomewhere, startApi, type Operation } from './operations.ts'

const server = await startApi()
afterAll(() => server.close())
await prepare(server)
// A stranger without an inbox of his own would be stopped by that alone.
const STRANGERS = [
  { companyId: OWNER.companyId, userId: 'boris' },
  { companyId: 'other', userId: OWNER.userId },
  { companyId: '', userId: OWNER.userId },
]
for (const stranger of STRANGERS) await putNotification(server.database.db, stranger)
const { operations } = await documented(server)
const ownerKey = await keyOf(server, OWNER.companyId, SCOPES)
const strangerKey = await keyOf(server, 'other', SCOPES)
const token = (userId: string, companyId: string) =>
  server.token(userId, companyId === '' ? {} : { company_id: companyId })

const called = (operation: Operation, id: string, credentials: string): Promise<Answer> =>
  server.call(operation.method, filled(operation, id), exampleBody(operation, id), {
    authorization: `Bearer ${credentials}`,
    ...fromSomewhere(),
  })

/** Everything that the owner's company has in the database. */
async function ownersRows(): Promise<unknown> {
  const { db } = server.database
  const tables = await db.query<{ name: string }>(
    `select table_name as name from information_schema.columns
     where table_schema = 'public' and column_name = 'company_id' order by 1`,
  )
  const rows: Record<string, unknown> = {}
  for (const { name } of tables) {
    rows[name] = await db.query(
      `select to_jsonb(t) - 'last_used_at' as row from ${name} t where company_id = $1 order by t::text`,
      [OWNER.companyId],
    )
  }
  return rows
}

const withIds = operations.filter(({ params }) => params.length > 0)

suite("another user's things", () => {
  const ofUsers = withIds.filter(({ access }) => access === 'user')

  test.each(ofUsers)('$name does not know them, and leaves them as they are', async (operation) => {
    const id = await seedOf(operation)(server, ownerKey)
    const before = await ownersRows()

    const answers: Answer[] = []
    for (const { companyId, userId } of STRANGERS) {
      answers.push(await called(operation, id, await token(userId, companyId)))
    }
    const nothing = await called(operation, '00000000-0000-8000-8a56-576e74636e00', await token('boris', 'acme'))

    for (const { status, body } of [...answers, nothing]) {
      expect(status).toBe(404)
      expect(body).toEqual({ ...nothing.body, request_id: body.request_id })
    }
    expect(await ownersRows()).toEqual(before)
    expect((await called(operation, id, await token(OWNER.userId, OWNER.companyId))).status).toBeLessThan(300)
  })
})

suite("another company's things", () => {
  const ofServices = withIds.filter(({ access }) => access !== 'user' && access !== 'public')

  test.each(ofServices)('$name does not know them, and leaves them as they are', async (operation) => {
    const id = await seedOf(operation)(server, ownerKey)
    const before = await ownersRows()

    const answer = await called(operation, id, strangerKey)

    if (!MAKES_ITS_OWN.includes(operation.name)) expect([answer.status, answer.body.status]).toEqual([404, 404])
    expect(await ownersRows()).toEqual(before)
    expect((await called(operation, id, ownerKey)).status).toBeLessThan(300)
  })

  test.each(ofServices)('$name cannot be told to act for their company', async (operation) => {
    const id = await seedOf(operation)(server, ownerKey)
    const before = await ownersRows()

    const answer = await server.call(operation.method, filled(operation, id), exampleBody(operation, id), {
      authorization: `Bearer ${strangerKey}`,
      'x-company-id': OWNER.companyId,
    })

    expect(answer.status).toBe(403)
    expect(await ownersRows()).toEqual(before)
  })

  test('are in no list', async () => {
    for (const operation of withIds) await seedOf(operation)(server, ownerKey)
    const lists = operations.filter(
      ({ method, params, access }) => method === 'GET' && params.length === 0 && access !== 'public',
    )

    for (const operation of lists) {
      const own = operation.access === 'user' ? await token(OWNER.userId, OWNER.companyId) : ownerKey
      const foreign = operation.access === 'user' ? await token('boris', 'other') : strangerKey
      const [mine, theirs] = [await called(operation, '', own), await called(operation, '', foreign)]

      expect([mine.status, theirs.status], operation.name).toEqual([200, 200])
      if (Array.isArray(mine.body.items)) expect(JSON.stringify(mine.body), operation.name).toContain(CANARY)
      expect(JSON.stringify(theirs.body), operation.name).not.toContain(CANARY)
    }
  })
})
