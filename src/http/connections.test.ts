import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { pino } from 'pino'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { readyClient, startGateway, type RunningGateway } from '../../test/gateway.ts'
import { metrics } from '../metrics.ts'
import { connectionRoutes } from './connections.ts'
import { httpServer } from './server.ts'

let database: FreshDatabase
let running: RunningGateway

beforeAll(async () => {
  database = await freshDatabase()
  running = await startGateway(database.db)
  await readyClient(running, 'anna')
  for (const userId of ['anna', 'anna', 'boris']) await readyClient(running, userId, 'acme')
})
afterAll(async () => {
  await running.stop()
  await database.close()
})

async function ask(companyId: string, query = ''): Promise<unknown> {
  const service = async () => ({ keyId: 'k', companyId, scopes: ['connections:read'] as const })
  const log = pino({ level: 'silent' })
  const authenticate = { service, user: async () => null }
  const app = httpServer({ log, metrics: metrics() }, { authenticate })
  await app.register(connectionRoutes(running.gateway))
  const headers = { authorization: 'Bearer sk_x' }
  const answer = await app.inject({ url: `/api/v1/connections${query}`, headers })
  await app.close()
  return answer.json()
}

suite('connections', () => {
  test('are counted over all companies for a key of none', async () => {
    expect(await ask('')).toEqual({ users: 3, connections: 4 })
  })

  test('of another company are unknown to a key of one', async () => {
    expect(await ask('acme')).toEqual({ users: 2, connections: 3 })
    expect(await ask('other')).toEqual({ users: 0, connections: 0 })
  })

  test('of one user are those of that company alone', async () => {
    expect(await ask('acme', '?user_id=anna')).toEqual({ users: 1, connections: 2 })
    expect(await ask('', '?user_id=anna')).toEqual({ users: 1, connections: 1 })
    expect(await ask('acme', '?user_id=nobody')).toEqual({ users: 0, connections: 0 })
  })
})
