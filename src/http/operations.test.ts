import { pino } from 'pino'
import { expect, suite, test } from 'vitest'
import { as, serverWith } from '../../test/http.ts'
import { metrics } from '../metrics.ts'
import { operationsRoutes } from './operations.ts'
import type { Readiness } from './ready.ts'

const log = pino({ level: 'silent' })
const start = (readiness: Readiness[]) => serverWith(operationsRoutes({ log, metrics: metrics() }, readiness))
const fine: Readiness = { name: 'database', check: async () => {} }

suite('the readiness of a process', () => {
  test('is the readiness of all its parts', async () => {
    const answer = await start([fine]).inject('/ready')

    expect([answer.statusCode, answer.json()]).toEqual([200, { status: 'ready', checks: { database: 'ok' } }])
  })

  test('ends when one part fails, and says which and not why', async () => {
    const broken = { name: 'queue', check: () => Promise.reject(new Error('password authentication failed')) }

    const answer = await start([fine, broken]).inject('/ready')

    expect([answer.statusCode, answer.json()]).toEqual([
      503,
      { status: 'not-ready', checks: { database: 'ok', queue: 'failed' } },
    ])
  })

  test('ends when one part does not answer', async () => {
    const stuck = { name: 'worker', check: () => new Promise<void>(() => {}) }

    const answer = await start([stuck]).inject('/ready')

    expect([answer.statusCode, answer.json().checks]).toEqual([503, { worker: 'failed' }])
  })

  test('is found out once for many who ask', async () => {
    let asked = 0
    const app = start([{ name: 'database', check: async () => void asked++ }])

    await Promise.all(Array.from({ length: 50 }, () => app.inject('/ready')))

    expect(asked).toBe(1)
  })
})

suite('health and metrics', () => {
  test('the process says that it lives', async () => {
    expect((await start([]).inject('/health')).json()).toEqual({ status: 'ok' })
  })

  test.each([
    ['this machine', '127.0.0.1', {}, 200],
    ['another machine', '10.0.0.7', {}, 401],
    ['a proxy on this machine', '127.0.0.1', { 'x-forwarded-for': '10.0.0.7' }, 401],
    ['a key with the scope', '10.0.0.7', as('sk_').headers, 200],
    ['a user', '127.0.0.1', as('acme.anna').headers, 403],
  ])('%s reads the metrics as it may', async (_, remoteAddress, headers, status) => {
    const answer = await start([]).inject({ url: '/metrics', remoteAddress, headers })

    expect(answer.statusCode).toBe(status)
    expect(answer.body.includes('eventcenter_http_request_seconds')).toBe(status === 200)
  })
})
