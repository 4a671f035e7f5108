import { afterAll, beforeAll, expect, suite, test, vi } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { connect } from './pool.ts'
import { socketProxy } from '../../test/socket-proxy.ts'

let fresh: FreshDatabase
beforeAll(async () => {
  fresh = await freshDatabase()
})
afterAll(() => fresh.close())

const notify = (channel: string, payload: string): Promise<unknown> =>
  fresh.db.query('select pg_notify($1, $2)', [channel, payload])

const endListeners = (): Promise<unknown> =>
  fresh.db.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'eventcenter listen' and datname = current_database()`,
  )

suite('a listener', () => {
  test('hears every notification on its channel, in order, from the moment it is there', async () => {
    const heard: string[] = []
    const onConnect = vi.fn()
    const { stop } = await fresh.db.listen('Some "channel"', (payload) => heard.push(payload), onConnect)

    await notify('Some "channel"', 'first')
    await notify('another', 'not for it')
    await notify('Some "channel"', 'second')

    await vi.waitFor(() => expect(heard).toEqual(['first', 'second']))
    expect(onConnect).toHaveBeenCalledTimes(1)
    await stop()
  })

  test('connects again when its connection breaks, and says so', async () => {
    const heard: string[] = []
    const onConnect = vi.fn()
    const { stop } = await fresh.db.listen('again', (payload) => heard.push(payload), onConnect)

    await endListeners()

    await vi.waitFor(() => expect(onConnect).toHaveBeenCalledTimes(2))
    await notify('again', 'after the break')
    await vi.waitFor(() => expect(heard).toEqual(['after the break']))
    await stop()
  })

  test('hears nothing and holds no connection after it was stopped', async () => {
    const heard: string[] = []
    const { stop } = await fresh.db.listen('stopped', (payload) => heard.push(payload))

    await stop()
    await stop()

    await notify('stopped', 'too late')
    await vi.waitFor(async () =>
      expect(
        await fresh.db.query(
          `select from pg_stat_activity where application_name = 'eventcenter listen' and query ~ 'stopped'`,
        ),
      ).toEqual([]),
    )
    expect(heard).toEqual([])
  })

  test('can be stopped while it is connecting again', async () => {
    const onConnect = vi.fn()
    const { stop } = await fresh.db.listen('broken', () => {}, onConnect)
    await endListeners()

    await stop()

    const calls = onConnect.mock.calls.length
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(onConnect).toHaveBeenCalledTimes(calls)
  })

  test('connects again where the connection falls silent before it listens', { timeout: 20_000 }, async () => {
    const proxy = await socketProxy(fresh.url)
    const db = connect(proxy.url)
    const onConnect = vi.fn()
    const { stop } = await db.listen('silent', () => {}, onConnect)
    const isSilent = proxy.stopAfter('listen "silent"', 'answered', 0)
    await endListeners()
    await isSilent

    await expect.poll(() => onConnect.mock.calls.length, { timeout: 12_000 }).toBe(2)

    await stop()
    await db.close()
    await proxy.close()
  })

  test('is refused when the database is away at first', async () => {
    const db = connect('postgres://someone@/postgres?host=/nonexistent')

    await expect(db.listen('any', () => {})).rejects.toMatchObject({ code: 'unavailable' })
  })
})
