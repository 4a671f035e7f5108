import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, suite, test, vi } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { socketProxy } from '../../test/socket-proxy.ts'
import type { Db } from './db.ts'
import { connect, type PoolOptions } from './pool.ts'

let fresh: FreshDatabase
beforeAll(async () => {
  fresh = await freshDatabase()
  await fresh.db.query('create table account (name text primary key, amount integer not null)')
  await fresh.db.query('create sequence tries')
})
afterAll(() => fresh.close())

/** Runs `work` on a pool of its own. */
async function using<Result>(
  options: PoolOptions & { url?: string },
  work: (db: Db) => Promise<Result>,
): Promise<Result> {
  const db = connect(options.url ?? fresh.url, options)
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

const unavailable = { code: 'unavailable', retryAfterSeconds: expect.any(Number), cause: expect.any(Error) }

suite.concurrent('the database is unavailable', () => {
  test.for([
    [
      'nobody listens on its port',
      async (): Promise<string> => `postgres://someone@127.0.0.1:${await closedPort()}/postgres`,
    ],
    ['its socket does not exist', async (): Promise<string> => 'postgres://someone@/postgres?host=/nonexistent'],
    ['its host has no address', async (): Promise<string> => 'postgres://someone@database.invalid/postgres'],
  ] as const)('when %s', async ([, urlOf]) => {
    const url = await urlOf()

    const answer = using({ url }, (db) => db.query('select 1'))

    await expect(answer).rejects.toMatchObject(unavailable)
  })

  test('when it accepts connections and says nothing', async () => {
    const proxy = await socketProxy(fresh.url)
    proxy.freeze()

    const answer = using({ url: proxy.url }, (db) => db.query('select 1'))

    await expect(answer).rejects.toMatchObject(unavailable)
    await proxy.close()
  })

  test('when a connection falls silent while a statement runs', async () => {
    const proxy = await socketProxy(fresh.url)

    const answer = using({ url: proxy.url, statementTimeoutMs: 200, maxConnections: 1 }, async (db) => {
      await db.query('select 1')
      proxy.freeze()
      return db.query('select 2')
    })

    await expect(answer).rejects.toMatchObject(unavailable)
    await proxy.close()
  })

  test('when a connection breaks while a statement runs', async () => {
    const proxy = await socketProxy(fresh.url)

    const answer = using({ url: proxy.url }, (db) => db.query('select pg_sleep(60)'))

    const [result] = await Promise.allSettled([answer, waitForStatement('select pg_sleep(60)').then(proxy.close)])
    expect(result).toMatchObject({ reason: unavailable })
  })

  test('when an administrator ends the connection', async () => {
    const answer = fresh.db.query('select pg_terminate_backend(pg_backend_pid())')

    await expect(answer).rejects.toMatchObject({ ...unavailable, cause: { code: '57P01' } })
    expect(await fresh.db.query('select 1 as one')).toEqual([{ one: 1 }])
  })

  test('when a statement takes too long', async () => {
    const answer = using({ statementTimeoutMs: 50 }, (db) => db.query('select pg_sleep(60)'))

    await expect(answer).rejects.toMatchObject({ ...unavailable, cause: { code: '57014' } })
  })

  test('when a lock is not to be had', async () => {
    const answer = fresh.db.transaction(async (tx) => {
      await tx.query('lock table account')
      return using({ lockTimeoutMs: 50 }, (db) => db.query('select * from account'))
    })

    await expect(answer).rejects.toMatchObject({ ...unavailable, cause: { code: '55P03' } })
  })

  test('when it has no connection left', async () => {
    await fresh.db.query('create role limited login connection limit 0')

    const answer = using({ url: fresh.url.replace('//eventcenter@', '//limited@') }, (db) => db.query('select 1'))

    await expect(answer).rejects.toMatchObject({ ...unavailable, cause: { code: '53300' } })
    await fresh.db.query('drop role limited')
  })

  test('when its disk is full', async () => {
    const answer = fresh.db.query(`do $$ begin raise disk_full; end $$`)

    await expect(answer).rejects.toMatchObject({ ...unavailable, cause: { code: '53100' } })
  })

  test('when all connections of the pool stay busy for 3 s', async () => {
    const answer = using({ maxConnections: 1 }, (db) => db.transaction(() => db.query('select 1')))

    await expect(answer).rejects.toMatchObject(unavailable)
  })
})

suite('an error of a statement', () => {
  test('keeps its SQLSTATE', async () => {
    await expect(fresh.db.query('select 1 / 0')).rejects.toMatchObject({ code: '22012' })
    await expect(fresh.db.query('select * from nowhere')).rejects.toMatchObject({ code: '42P01' })
  })

  test('in its parameters is no fault of the database', async () => {
    const circular: Record<string, unknown> = {}
    circular['self'] = circular

    await expect(fresh.db.query('select $1::jsonb', [circular])).rejects.toBeInstanceOf(TypeError)
    expect(await fresh.db.query('select 1 as one')).toEqual([{ one: 1 }])
  })
})

suite('a connection that nobody uses', () => {
  test('may break without harm', async () => {
    const onError = vi.fn()

    const rows = await using({ maxConnections: 1, onError }, async (db) => {
      const [row] = await db.query<{ pid: number }>('select pg_backend_pid() as pid')
      await fresh.db.query('select pg_terminate_backend($1)', [row!.pid])
      await vi.waitFor(() => expect(onError).toHaveBeenCalled())
      return db.query('select 1 as one')
    })

    expect(rows).toEqual([{ one: 1 }])
  })
})

suite('a transaction', () => {
  test('keeps everything when it ends well', async () => {
    const result = await fresh.db.transaction(async (tx) => {
      await tx.query(`insert into account values ('kept', 1)`)
      await tx.query(`update account set amount = 2 where name = 'kept'`)
      return 'done'
    })

    expect(result).toBe('done')
    expect(await fresh.db.query(`select amount from account where name = 'kept'`)).toEqual([{ amount: 2 }])
  })

  test('keeps nothing when it throws, and throws the same', async () => {
    const failure = new Error('changed my mind')

    const result = fresh.db.transaction(async (tx) => {
      await tx.query(`insert into account values ('dropped', 1)`)
      throw failure
    })

    await expect(result).rejects.toBe(failure)
    expect(await fresh.db.query(`select * from account where name = 'dropped'`)).toEqual([])
  })

  test('does not pretend to be kept when the error of a statement was swallowed', async () => {
    const result = fresh.db.transaction(async (tx) => {
      await tx.query(`insert into account values ('pretended', 1)`)
      await tx.query('select 1 / 0').catch(() => {})
    })

    await expect(result).rejects.toMatchObject({ code: '22012' })
    expect(await fresh.db.query(`select * from account where name = 'pretended'`)).toEqual([])
  })

  test('may go on after an error that a savepoint took back', async () => {
    await fresh.db.transaction(async (tx) => {
      await tx.query('savepoint before')
      await tx.query('select 1 / 0').catch(() => tx.query('rollback to before'))
      await tx.query(`insert into account values ('went on', 1)`)
    })

    expect(await fresh.db.query(`select amount from account where name = 'went on'`)).toEqual([{ amount: 1 }])
  })

  test('leaves its connection clean for the next one', async () => {
    const rows = await using({ maxConnections: 1 }, async (db) => {
      await expect(db.transaction((tx) => tx.query('select 1 / 0'))).rejects.toMatchObject({ code: '22012' })
      return db.query('select now() = statement_timestamp() as alone')
    })

    expect(rows).toEqual([{ alone: true }])
  })

  test('whose connection breaks is unavailable and its connection is not used again', async () => {
    const rows = await using({ maxConnections: 1 }, async (db) => {
      const broken = db.transaction((tx) => tx.query('select pg_terminate_backend(pg_backend_pid())'))
      await expect(broken).rejects.toMatchObject(unavailable)
      return db.query('select 1 as one')
    })

    expect(rows).toEqual([{ one: 1 }])
  })

  test('cannot be used when it is over', async () => {
    const tx = await fresh.db.transaction(async (tx) => tx)

    await expect(tx.query('select 1')).rejects.toThrow('The transaction is over')
  })
})

const amounts = (name: string) => fresh.db.query('select amount from account where name like $1 order by 1', [name])

suite('a pipeline', () => {
  test('keeps everything when it ends well', async () => {
    const result = await fresh.db.pipeline((send) => {
      send(`insert into account values ('piped first', 1)`)
      send(`insert into account values ('piped then', $1)`, [2])
      return 'done'
    })

    expect(result).toBe('done')
    expect(await amounts('piped %')).toEqual([{ amount: 1 }, { amount: 2 }])
  })

  test('keeps nothing when it throws, and throws the same', async () => {
    const failure = new Error('changed my mind')

    const result = fresh.db.pipeline((send) => {
      send(`insert into account values ('piped in vain', 1)`)
      throw failure
    })

    await expect(result).rejects.toBe(failure)
    expect(await amounts('piped in vain')).toEqual([])
  })

  test('keeps nothing when a statement fails, and tells of the first that did', async () => {
    const result = fresh.db.pipeline((send) => {
      send(`insert into account values ('half first', 1)`)
      send('select 1 / 0')
      send(`insert into account values ('half then', 2)`)
    })

    await expect(result).rejects.toMatchObject({ code: '22012' })
    expect(await amounts('half %')).toEqual([])
  })

  test('keeps nothing when a parameter cannot be written', async () => {
    const circular: Record<string, unknown> = {}
    circular['self'] = circular

    const result = fresh.db.pipeline((send) => {
      send(`insert into account values ('unwritten', 1)`)
      send('select $1::jsonb', [circular])
    })

    await expect(result).rejects.toBeInstanceOf(TypeError)
    expect(await amounts('unwritten')).toEqual([])
  })

  test('leaves its connection clean for the next one', async () => {
    const rows = await using({ maxConnections: 1 }, async (db) => {
      await expect(db.pipeline((send) => send('select 1 / 0'))).rejects.toMatchObject({ code: '22012' })
      return db.query('select now() = statement_timestamp() as alone')
    })

    expect(rows).toEqual([{ alone: true }])
  })

  test('whose connection breaks is unavailable and its connection is not used again', async () => {
    const rows = await using({ maxConnections: 1 }, async (db) => {
      const broken = db.pipeline((send) => send('select pg_terminate_backend(pg_backend_pid())'))
      await expect(broken).rejects.toMatchObject(unavailable)
      return db.query('select 1 as one')
    })

    expect(rows).toEqual([{ one: 1 }])
  })

  test('sends nothing before it has begun', async () => {
    const proxy = await socketProxy(fresh.url)
    const answer = using({ url: proxy.url, maxConnections: 1, statementTimeoutMs: 100 }, async (db) => {
      await db.query('select 1')
      proxy.loseAnswers('begin')
      void proxy.stopAfter('begin', 'asked')
      return db.pipeline((send) => send(`insert into account values ('begun', 1)`))
    })

    await expect(answer).rejects.toMatchObject(unavailable)
    expect(proxy.carried().asked).toBe('Q....begin.'.length)
    await proxy.close()
  })

  test('leaves its connection clean when its commit is refused', async () => {
    await fresh.db.query('create table late (n integer unique deferrable initially deferred)')
    const rows = await using({ maxConnections: 1 }, async (db) => {
      const refused = db.pipeline((send) => send('insert into late values (1), (1)'))
      await expect(refused).rejects.toMatchObject({ code: '23505' })
      return db.query('select now() = statement_timestamp() as alone')
    })

    expect(rows).toEqual([{ alone: true }])
  })

  test('may take its time, also when a statement has failed meanwhile', async () => {
    const result = fresh.db.pipeline(async (send) => {
      send(`insert into account values ('slowly', 1)`)
      send('select 1 / 0')
      await sleep(100)
      send(`insert into account values ('slowly then', 1)`)
    })

    await expect(result).rejects.toMatchObject({ code: '22012' })
    expect(await amounts('slowly%')).toEqual([])
  })

  test('cannot be used when it is over', async () => {
    const send = await fresh.db.pipeline((send) => send)

    expect(() => send('select 1')).toThrow('The transaction is over')
  })
})

suite('a stream of statements', () => {
  const pid = 'pg_backend_pid() as pid'
  type Pid = { pid: number }

  test('runs over one connection, in the order in which they were given, each by itself', async () => {
    await fresh.db.query('create table streamed (id integer primary key, pid integer)')
    const insert = (id: number): Promise<unknown> =>
      fresh.db.stream.query('insert into streamed select $1, pg_backend_pid()', [id])

    const answers = await Promise.allSettled([1, 2, 1, 3].map(insert))

    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
    const rows = await fresh.db.query<Pid & { id: number }>('select * from streamed order by ctid')
    expect(rows.map(({ id }) => id)).toEqual([1, 2, 3])
    expect(new Set(rows.map((row) => row.pid)).size).toBe(1)
  })

  test('does not wait behind a statement that takes long', async () => {
    await using({}, async ({ stream }) => {
      const slow = stream.query<Pid>(`select ${pid} from pg_sleep(0.5)`)
      await sleep(20)

      const [quick] = await Promise.race([stream.query<Pid>(`select ${pid}`), slow])

      expect(quick?.pid).not.toBe((await slow)[0]?.pid)
    })
  })

  test('gives its connection back', async () => {
    await using({ maxConnections: 1 }, async (db) => {
      await Promise.allSettled([
        db.stream.query('select 1'),
        db.stream.query('select 1 / 0'),
        db.stream.query('select 2'),
      ])

      await expect(db.transaction((tx) => tx.query('select 3 as three'))).resolves.toEqual([{ three: 3 }])
    })
  })

  test('is unavailable when its connection breaks, and goes on over another', async () => {
    await using({}, async ({ stream }) => {
      const broken = await Promise.allSettled([
        stream.query('select pg_terminate_backend(pg_backend_pid())'),
        stream.query('select 1'),
      ])

      expect(broken).toMatchObject([{ reason: unavailable }, { reason: unavailable }])
      expect(await stream.query('select 2 as two')).toEqual([{ two: 2 }])
    })
  })

  test('is unavailable while there is no connection to be had', async () => {
    await using({ maxConnections: 1 }, (db) =>
      db.transaction(async () => {
        const answers = await Promise.allSettled([db.stream.query('select 1'), db.stream.query('select 2')])
        expect(answers).toMatchObject([{ reason: unavailable }, { reason: unavailable }])
      }),
    )
  })
})

suite('work that meets a conflicting transaction', () => {
  test('is done again as a whole after a deadlock', async () => {
    await fresh.db.query(`insert into account values ('left', 0), ('right', 0)`)
    const started: string[] = []
    const bothLocked = Promise.withResolvers<void>()
    const transfer = (from: string, to: string): Promise<void> =>
      fresh.db.transaction(async (tx) => {
        await tx.query(`set local deadlock_timeout = '20ms'`)
        await tx.query('update account set amount = amount - 1 where name = $1', [from])
        if (started.push(from) === 2) bothLocked.resolve()
        await bothLocked.promise
        await tx.query('update account set amount = amount + 1 where name = $1', [to])
      })

    await Promise.all([transfer('left', 'right'), transfer('right', 'left')])

    expect(started.length).toBeGreaterThan(2)
    expect(
      await fresh.db.query(`select sum(amount)::integer as sum from account where name in ('left', 'right')`),
    ).toEqual([{ sum: 0 }])
  })

  test('is done again when it is a single statement', async () => {
    await fresh.db.query(`create function third_time() returns text language plpgsql as $$ begin
      if nextval('tries') < 3 then raise serialization_failure; end if; return 'lucky'; end $$`)

    expect(await fresh.db.query('select third_time()')).toEqual([{ third_time: 'lucky' }])
  })

  test('is given up after five times', async () => {
    let attempts = 0

    const result = fresh.db.transaction((tx) => {
      attempts++
      return tx.query('do $$ begin raise serialization_failure; end $$')
    })

    await expect(result).rejects.toMatchObject({ code: '40001' })
    expect(attempts).toBe(5)
  })
})

async function waitForStatement(sql: string): Promise<void> {
  await vi.waitFor(async () =>
    expect(
      await fresh.db.query(`select from pg_stat_activity where query = $1 and state = 'active'`, [sql]),
    ).toHaveLength(1),
  )
}

async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
