import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { deleteUser, putUsers } from '../store/directory-user.ts'
import { databaseDirectory } from './database.ts'
import type { Directory } from './directory.ts'

let database: FreshDatabase
let directory: Directory
beforeAll(async () => {
  database = await freshDatabase()
  directory = databaseDirectory(database.db)
})
afterAll(() => database.close())

const put = (...users: Parameters<typeof putUsers>[2]) => putUsers(database.db, 'acme', users)
const emails = async (userId: string) =>
  (await directory.find('acme', userId))?.addresses.map(({ value, state }) => [value, state])

suite('the directory in the database', () => {
  test('knows a user with all his addresses', async () => {
    await put({
      user_id: 'anna',
      locale: 'ru',
      time_zone: 'Europe/Moscow',
      profile: { name: 'Анна' },
      addresses: { email: ['a@b.c'] },
    })

    expect(await directory.find('acme', 'anna')).toEqual({
      company_id: 'acme',
      user_id: 'anna',
      locale: 'ru',
      time_zone: 'Europe/Moscow',
      profile: { name: 'Анна' },
      addresses: [{ id: expect.stringMatching(/^\d+$/), channel: 'email', value: 'a@b.c', state: 'active' }],
    })
  })

  test('knows nobody of another company', async () => {
    await put({ user_id: 'boris' })

    expect(await directory.find('', 'boris')).toBeNull()
    expect(await directory.find('other', 'boris')).toBeNull()
  })

  test('keeps what a change does not name, and takes away what it sets to null', async () => {
    await put({
      user_id: 'carl',
      locale: 'en',
      time_zone: 'UTC',
      profile: { name: 'C' },
      addresses: { email: ['c@b.c'] },
    })

    await put({ user_id: 'carl', time_zone: null })

    expect(await directory.find('acme', 'carl')).toMatchObject({
      locale: 'en',
      time_zone: null,
      profile: { name: 'C' },
    })
    expect(await emails('carl')).toEqual([['c@b.c', 'active']])
  })

  test('replaces the addresses of a named channel alone, and a forgotten one stays forgotten', async () => {
    await put({ user_id: 'dora', addresses: { email: ['1@b.c', '2@b.c'], sms: ['+7'] } })
    const [first] = (await directory.find('acme', 'dora'))?.addresses ?? []
    if (first) await directory.forget(first, 'bounced', '1')

    await put({ user_id: 'dora', addresses: { email: ['1@b.c', '3@b.c'] } })

    expect(await emails('dora')).toEqual([
      ['1@b.c', 'blocked'],
      ['+7', 'active'],
      ['3@b.c', 'active'],
    ])
  })

  test('erases a user with his addresses', async () => {
    await put({ user_id: 'emma', addresses: { email: ['e@b.c'] } })

    expect(await deleteUser(database.db, 'acme', 'emma')).toBe(true)
    expect(await deleteUser(database.db, 'acme', 'emma')).toBe(false)
    expect(await directory.find('acme', 'emma')).toBeNull()
    expect(await database.db.query('select from address where user_id = $1', ['emma'])).toEqual([])
  })

  test('takes a thousand users at once, from several services at once', async () => {
    const users = Array.from({ length: 1000 }, (_, i) => ({ user_id: `u${i}`, addresses: { email: [`u${i}@b.c`] } }))

    await Promise.all([put(...users), put(...users.toReversed()), put(...users)])

    expect(await emails('u999')).toEqual([['u999@b.c', 'active']])
  })
})
