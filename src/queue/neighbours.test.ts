import { randomUUID } from 'node:crypto'
import { afterEach, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { AppError } from '../core/errors.ts'
import { idGenerator } from '../core/id.ts'
import type { Db } from '../db/db.ts'
import { messageOf, parseMessage } from './neighbours.ts'
import { postgresQueue } from './postgres.ts'
import type { Place, Queue } from './queue.ts'

const mail: Place = { channel: 'mail', lane: 'p2p' }
const sms: Place = { channel: 'sms', lane: 'broadcast' }

suite('what processes tell each other', () => {
  test('names each place once', () => {
    const message = messageOf('me', [[mail, sms], [mail]])

    expect(parseMessage(message)).toEqual({ from: 'me', places: [mail, sms] })
    expect(message).toBe('me p2p:mail broadcast:sms')
  })

  test.each([
    ['one of them does not know where', [[mail], null]],
    ['a name could be read as another', [[{ ...mail, channel: 'odd name:x' }]]],
    ['there are more than PostgreSQL takes', [Array.from({ length: 2000 }, (_, n) => ({ ...mail, channel: `c${n}` }))]],
  ])('is "somewhere" when %s', (_, calls) => {
    const message = messageOf('me', calls)

    expect(parseMessage(message)).toEqual({ from: 'me', places: null })
    expect(Buffer.byteLength(message)).toBeLessThan(8000)
  })

  test.each(['you', 'you *', 'you p2p:mail newlane:mail', 'you {"v":2}'])(
    'is "somewhere" in words that are not known here: %s',
    (message) => {
      expect(parseMessage(message)).toEqual({ from: 'you', places: null })
    },
  )
})

suite('a process that could not listen when it started', () => {
  let database: FreshDatabase
  const queues: Queue[] = []
  afterEach(async () => {
    for (const queue of queues) await queue.close()
    await database.close()
  })

  test('hears of work once the database is there', async () => {
    database = await freshDatabase()
    const { db } = database
    const isAway = { once: true }
    const atFirst: Db['listen'] = async (...given) => {
      if (!isAway.once) return db.listen(...given)
      isAway.once = false
      throw new AppError('unavailable', 'too many clients')
    }
    const open = (listen: Db['listen']): Queue => {
      const ids = { nextId: idGenerator(() => 1), workerId: randomUUID() }
      const queue = postgresQueue({ db: { ...db, listen }, ...ids, leaseSeconds: 30, isShared: true })
      queues.push(queue)
      return queue
    }
    const [deaf, other] = [open(atFirst), open((...given) => db.listen(...given))]
    const heard: unknown[] = []
    deaf.onWake((places) => heard.push(places))

    await deaf.due([mail])
    await expect.poll(() => heard).toEqual([null])
    other.wake([mail])

    await expect.poll(() => heard).toEqual([null, [mail]])
  })
})
