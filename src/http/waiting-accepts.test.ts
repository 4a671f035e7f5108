import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { startTestApp, type TestApp } from '../../test/app.ts'

const event = { user_id: 'anna', type: 'job.done', title: 'Ready', body: 'All rows.' }

suite('events that wait to be stored', () => {
  let server: TestApp
  beforeAll(async () => {
    server = await startTestApp({ ROLES: 'api', MAX_WAITING_ACCEPTS: '1' })
  })
  afterAll(() => server.close())

  test('are no more than may wait: others are asked to come again', async () => {
    const send = (id: string) => server.call('POST', '/api/v1/events', { ...event, id })
    const both = await server.database.db.transaction(async (tx) => {
      await tx.query('lock table event in access exclusive mode')
      const answers = [send('one'), send('two')]
      await Promise.race(answers)
      return { answers }
    })

    const answers = (await Promise.all(both.answers)).toSorted((a, b) => a.status - b.status)
    expect(answers.map(({ status }) => status)).toEqual([202, 503])
    expect(answers[1]?.headers.get('retry-after')).toBe('1')
  })

  test('may be a batch of more than that, where nothing else waits: else it would be asked for ever', async () => {
    const { status } = await server.call('POST', '/api/v1/events/batch', { events: [event, event, event] })

    expect(status).toBe(202)
  })
})
