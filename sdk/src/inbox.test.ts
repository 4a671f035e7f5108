import { afterAll, afterEach, beforeAll, expect, suite, test } from 'vitest'
import { startAccountServer, startProxy, type AccountServer } from '../../test/account-server.ts'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { liveFrame, tokenOf, writeNotification } from '../../test/gateway.ts'
import { CLOSE } from '../../src/gateway/close-codes.ts'
import { inbox, type Inbox } from './inbox.ts'
import { CLOSE_CODES } from './protocol.ts'

let database: FreshDatabase
let cleanup: (() => unknown)[] = []

beforeAll(async () => {
  database = await freshDatabase()
})
afterEach(async () => {
  for (const step of cleanup.toReversed()) await step()
  cleanup = []
})
afterAll(() => database.close())

async function serve(options: Parameters<typeof startAccountServer>[1] = {}): Promise<AccountServer> {
  const server = await startAccountServer(database.db, options)
  cleanup.push(() => server.stop())
  return server
}

function open(options: Parameters<typeof inbox>[0]): Inbox {
  const one = inbox(options)
  cleanup.push(() => one.close())
  return one
}

const until = (fact: () => unknown, value: unknown): Promise<void> =>
  expect.poll(fact, { timeout: 10_000, interval: 5 }).toEqual(value)

const titles = (one: Inbox): string[] => one.get().notifications.map(({ title }) => title)

async function happen(server: AccountServer, userId: string, title: string): Promise<void> {
  await server.bus.publish(liveFrame(await writeNotification(database.db, { userId, title }), userId))
}

suite('an inbox', () => {
  test('loads what there is, and shows at once what comes', async () => {
    const server = await serve()
    await writeNotification(database.db, { userId: 'anna', title: 'old' })
    const one = open({ url: server.url, token: await tokenOf('anna') })
    const news: string[] = []
    one.onNotification(({ title }) => news.push(title))
    await until(() => titles(one), ['old'])
    expect(one.get()).toMatchObject({ status: 'live', unreadCount: 1, isLoading: false, hasMore: false })

    await happen(server, 'anna', 'new')

    await until(() => titles(one), ['new', 'old'])
    await until(() => one.get().unreadCount, 2)
    expect(news).toEqual(['new'])
  })

  test('reads, archives, snoozes and reads all, and every other inbox of the user follows', async () => {
    const server = await serve()
    const token = await tokenOf('boris')
    const ids: string[] = []
    for (const title of ['a', 'b', 'c', 'd']) {
      const { id } = await writeNotification(database.db, { userId: 'boris', title })
      ids.push(id)
    }
    const [here, there] = [open({ url: server.url, token }), open({ url: server.url, token })]
    await until(() => [here.get().unreadCount, there.get().notifications.length], [4, 4])

    await here.read(ids[0]!)
    await here.archive(ids[1]!)
    await here.snooze(ids[2]!, new Date(Date.now() + 3600_000))
    for (const one of [here, there]) {
      await until(() => titles(one), ['d', 'a'])
      await until(() => one.get().unreadCount, 1)
    }
    await here.unread(ids[0]!)
    await until(() => there.get().unreadCount, 2)
    await here.readAll()

    for (const one of [here, there]) {
      await until(() => one.get().unreadCount, 0)
      await until(() => one.get().notifications.map(({ is_read }) => is_read), [true, true])
    }
  })

  test('takes what overtook something on its way as new, not as missed', async () => {
    const server = await serve()
    const one = open({ url: server.url, token: await tokenOf('overtaken') })
    const news: [string, boolean][] = []
    one.onNotification(({ title }, { isMissed }) => news.push([title, isMissed]))
    await until(() => one.get().status, 'live')
    const first = await writeNotification(database.db, { userId: 'overtaken', title: 'first' })
    const second = await writeNotification(database.db, { userId: 'overtaken', title: 'second' })

    await server.bus.publish(liveFrame(second, 'overtaken'))
    await server.bus.publish(liveFrame(first, 'overtaken'))

    const expected = [
      ['first', false],
      ['second', false],
    ]
    await until(() => news, expected)
  })

  test('loads older ones page by page', async () => {
    const server = await serve()
    for (let count = 0; count < 5; count++)
      await writeNotification(database.db, { userId: 'pages', title: `n${count}` })
    const one = open({ url: server.url, token: await tokenOf('pages'), pageSize: 2 })
    await until(() => [titles(one), one.get().hasMore], [['n4', 'n3'], true])

    await one.loadMore()
    await one.loadMore()

    expect(titles(one)).toEqual(['n4', 'n3', 'n2', 'n1', 'n0'])
    expect(one.get().hasMore).toBe(false)
  })

  test('says no more after it was closed', async () => {
    const server = await serve()
    const one = open({ url: server.url, token: await tokenOf('closed') })
    await until(() => one.get().status, 'live')

    one.close()

    expect(one.get().status).toBe('closed')
    await until(() => server.gateway.connections(), 0)
  })

  test('of a wrong change says what the server says', async () => {
    const server = await serve()
    const one = open({ url: server.url, token: await tokenOf('wrong') })

    await expect(one.read('nonsense')).rejects.toMatchObject({ name: 'ApiError', status: 404 })
  })
})

suite('an inbox that lost its connection', () => {
  test('comes back and has everything, each once', async () => {
    const server = await serve()
    const proxy = await startProxy(() => server.port)
    cleanup.push(() => proxy.stop())
    const one = open({ url: proxy.url, token: await tokenOf('cut') })
    const news: string[] = []
    const missed: boolean[] = []
    one.onNotification(({ title }, { isMissed }) => {
      news.push(title)
      missed.push(isMissed)
    })
    await until(() => one.get().status, 'live')
    await happen(server, 'cut', 'before')
    await until(() => news, ['before'])

    proxy.break()
    await until(() => one.get().status, 'reconnecting')
    await happen(server, 'cut', 'meanwhile')
    proxy.mend()

    await until(() => one.get().status, 'live')
    await until(() => titles(one), ['meanwhile', 'before'])
    await happen(server, 'cut', 'after')
    await until(() => titles(one), ['after', 'meanwhile', 'before'])
    expect(news).toEqual(['before', 'meanwhile', 'after'])
    expect(missed).toEqual([false, true, false])
    await until(() => one.get().unreadCount, 3)
  })

  test('again and again, under a stream of changes, misses none and takes none twice', async () => {
    const server = await serve()
    const proxy = await startProxy(() => server.port)
    cleanup.push(() => proxy.stop())
    const one = open({ url: proxy.url, token: await tokenOf('storm') })
    const news: string[] = []
    one.onNotification(({ title }) => news.push(title))
    await until(() => one.get().status, 'live')

    for (let count = 0; count < 120; count++) {
      await happen(server, 'storm', `n${count}`)
      if (count % 30 === 29) proxy.cut()
    }

    await until(() => news.length, 120)
    expect(news.toSorted()).toEqual(Array.from({ length: 120 }, (_, index) => `n${index}`).toSorted())
    await until(() => one.get().unreadCount, 120)
  })

  test('to a restarted server finds the new one', async () => {
    const first = await startAccountServer(database.db)
    const one = open({ url: first.url, token: await tokenOf('restart') })
    await until(() => one.get().status, 'live')

    await first.stop()
    await until(() => one.get().status, 'reconnecting')
    await writeNotification(database.db, { userId: 'restart', title: 'during the restart' })
    await serve({ port: first.port })

    await until(() => titles(one), ['during the restart'])
  })

  test('that moves when asked to is live all the time', async () => {
    const [old, next] = [await startAccountServer(database.db, { drainSeconds: 3 }), await serve()]
    let target = old.port
    const proxy = await startProxy(() => target)
    cleanup.push(() => proxy.stop())
    const one = open({ url: proxy.url, token: await tokenOf('mover') })
    await until(() => one.get().status, 'live')
    const statuses: string[] = []
    one.subscribe(() => statuses.push(one.get().status))

    target = next.port
    const stopping = old.stop()
    await until(() => next.gateway.connectionCount('', 'mover'), 1)
    const movedAt = Date.now()
    await stopping

    expect(Date.now() - movedAt).toBeLessThan(500) // it left the old one at once
    await happen(next, 'mover', 'at the new one')
    await until(() => titles(one), ['at the new one'])
    expect(new Set(statuses)).toEqual(new Set(['live']))
  })

  test('loads anew when it missed too much', async () => {
    const server = await serve({ limits: { replayMax: 3 } })
    const proxy = await startProxy(() => server.port)
    cleanup.push(() => proxy.stop())
    const one = open({ url: proxy.url, token: await tokenOf('much'), pageSize: 4 })
    await happen(server, 'much', 'first')
    await until(() => titles(one), ['first'])

    proxy.break()
    for (let count = 0; count < 6; count++) await writeNotification(database.db, { userId: 'much', title: `n${count}` })
    proxy.mend()

    await until(() => titles(one), ['n5', 'n4', 'n3', 'n2'])
    await happen(server, 'much', 'last')
    await until(() => titles(one)[0], 'last')
  })
})

suite('an inbox whose token', () => {
  test('is refused is closed for good, and says why', async () => {
    const server = await serve()

    const one = open({ url: server.url, token: 'nonsense' })

    await until(() => one.get(), expect.objectContaining({ status: 'closed', closedBy: CLOSE_CODES.unauthorized }))
  })

  test('is over gets a new one and goes on', async () => {
    const server = await serve({ limits: { tokenGraceSeconds: 0, tickMs: 20 } })
    let asked = 0
    const token = () => {
      asked += 1
      return tokenOf('renewed', { seconds: asked === 1 ? 1 : 600 })
    }
    const one = open({ url: server.url, token })
    const statuses: string[] = []
    one.subscribe(() => statuses.push(one.get().status))

    await until(() => statuses.includes('reconnecting') && one.get().status, 'live')

    await happen(server, 'renewed', 'later')
    await until(() => titles(one), ['later'])
  })

  test('is over and cannot be renewed is closed for good', async () => {
    const server = await serve()

    const one = open({ url: server.url, token: await tokenOf('over', { seconds: -100 }) })

    await until(() => one.get(), expect.objectContaining({ status: 'closed', closedBy: CLOSE_CODES.tokenExpired }))
  })

  test('is refused though it is fresh is tried once more, not for ever', async () => {
    const server = await serve()
    let asked = 0
    const one = open({ url: server.url, token: () => `nonsense ${(asked += 1)}` })

    await until(() => one.get().status, 'closed')

    expect(asked).toBe(2)
  })
})

test('the close codes of the client are those of the server', () => {
  expect(CLOSE_CODES).toEqual(CLOSE)
})
