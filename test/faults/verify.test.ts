import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { DATABASE_SERVERS, startDatabaseServer, type DatabaseServer } from './database-server.ts'
import { openStage, type Stage } from './stage.ts'

/** What every test here relies on: that the end of a run fails when something is lost, doubled, or should not be. */
suite('the end of a run', () => {
  let databaseServer: DatabaseServer
  let stage: Stage

  beforeAll(async () => {
    databaseServer = await startDatabaseServer(DATABASE_SERVERS[0])
    stage = await openStage(databaseServer)
    const server = await stage.start('api,scheduler,worker')
    await server.call('PUT', '/api/v1/users/anna', { email: 'anna@example.com' })
    const event = { user_id: 'anna', type: 'job.done', title: 'Ready', body: 'Look', channels: ['email'] }
    await server.call('POST', '/api/v1/events', { id: 'sent', ...event })
    await stage.ends('sent', 'SENT')
    await server.call('POST', '/api/v1/events', { id: 'later', ...event, send_after: '2100-01-01T00:00:00Z' })
    await server.end('SIGTERM') // nobody puts right what is planted
  })
  afterAll(async () => {
    await stage.close()
    await databaseServer.stop()
  })

  const query = (sql: string) => stage.database.db.query(sql)
  const line = () => `${readFileSync(stage.receiver.logFile, 'utf8').split('\n')[0]}\n`

  test('passes where nothing happened', () => stage.verify())

  test.each([
    ['a waiting delivery that no worker will find', 'none-lost', `delete from ready`],
    ['an accepted event that is gone', 'answered-is-stored', `delete from event where event_id = 'later'`],
    ['a delivery that is gone', 'jobs-count', `delete from delivery where state = 0`],
    [
      'a delivery that is sent and waits again',
      'settled-is-free',
      `update ready set id = (select id from delivery where state = 2)`,
    ],
    ['a change from sent to failed', 'changes-are-legal', `update delivery set state = 4 where state = 2`],
    ['a change from sent to uncertain', 'changes-are-legal', `update delivery set state = 9 where state = 2`],
    [
      'a change from waiting to sent without a send',
      'sent-was-received',
      `update delivery set state = 2, attempt = 1, finished_at = now() where state = 0`,
    ],
    [
      'an attempt that nobody wrote down',
      'attempts-add-up',
      `update delivery set attempt = attempt + 1 where state = 2`,
    ],
  ])('fails at %s (%s)', async (_, rule, plant) => {
    const tables = ['ready', 'event', 'delivery']
    for (const table of tables) await query(`create table kept_${table} as select * from ${table}`)
    await query(plant)

    const failure = await stage.verify().catch((error: unknown) => error)

    for (const table of tables) {
      await query(`delete from ${table}`)
      await query(`insert into ${table} select * from kept_${table}`)
      await query(`drop table kept_${table}`)
    }
    expect(String(failure)).toContain(`${rule}: `)
    await stage.verify()
  })

  test('fails at a mail that was taken twice and is not known to be uncertain (received-once)', async () => {
    const once = readFileSync(stage.receiver.logFile, 'utf8')
    appendFileSync(stage.receiver.logFile, line())

    await expect(stage.verify()).rejects.toThrow('received-once')

    writeFileSync(stage.receiver.logFile, once)
  })

  test('fails at a mail that nobody sent (received-is-known)', async () => {
    const once = readFileSync(stage.receiver.logFile, 'utf8')
    appendFileSync(stage.receiver.logFile, line().replace(/dlv-[0-9a-f]{4}/, 'dlv-0000'))

    await expect(stage.verify()).rejects.toThrow('received-is-known')

    writeFileSync(stage.receiver.logFile, once)
  })

  test('fails at a sent mail that no receiver has (sent-was-received)', async () => {
    const once = readFileSync(stage.receiver.logFile, 'utf8')
    writeFileSync(stage.receiver.logFile, '')

    await expect(stage.verify()).rejects.toThrow('sent-was-received')

    writeFileSync(stage.receiver.logFile, once)
  })
})
