import { randomUUID } from 'node:crypto'
import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, inject, suite, test } from 'vitest'
import { startPostgres15 } from '../../test/postgres-15.ts'
import type { Db } from './db.ts'
import { migrate, pendingMigrations } from './migrate.ts'
import { connect } from './pool.ts'

const DIRECTORY = fileURLToPath(new URL('../../migrations/', import.meta.url))
const migrations = (await readdir(DIRECTORY)).sort()
const servers: Record<string, string> = { '18': inject('databaseUrl') }
let postgres15: Awaited<ReturnType<typeof startPostgres15>>

beforeAll(async () => {
  postgres15 = await startPostgres15()
  servers['15'] = postgres15.url
})
afterAll(() => postgres15.stop())

suite.for(['15', '18'])('PostgreSQL %s', (version) => {
  test('is what it says', async () => {
    const db = connect(servers[version]!)

    const [row] = await db.query<{ version: string }>(`select current_setting('server_version') as version`)

    await db.close()
    expect(row?.version).toMatch(new RegExp(`^${version}\\.`))
  })

  test('takes every migration once', async () => {
    const { url } = await emptyDatabase(version)

    expect(await pendingMigrations(url)).toEqual(migrations)
    expect(await migrate(url)).toEqual({ applied: migrations })
    expect(await pendingMigrations(url)).toEqual([])
    expect(await migrate(url)).toEqual({ applied: [] })
  })

  test('is migrated once by processes that start together', async () => {
    const { url } = await emptyDatabase(version)

    const results = await Promise.all([migrate(url), migrate(url), migrate(url)])

    expect(results.flatMap(({ applied }) => applied)).toEqual(migrations)
  })

  test('keeps what waits in the queue where it waited', async () => {
    const { url, db } = await emptyDatabase(version)
    const before = await mkdtemp(join(tmpdir(), 'eventcenter-'))
    for (const name of migrations.filter((one) => one < '0005'))
      await copyFile(join(DIRECTORY, name), join(before, name))
    await migrate(url, before)
    await db.query(
      `insert into delivery (id, event_id, notification_id, channel, user_id, lane, priority, run_at) values
         (1, 1, 1, 'email', 'anna', 0, 1, '2026-01-01Z'), (2, 1, 1, 'inbox', 'anna', 0, 1, '2026-01-02Z')`,
    )
    await db.query('insert into ready select lane, priority, run_at, id from delivery')

    await migrate(url)

    expect(
      await db.query(
        `select name, lane, priority, flow, run_at, id from ready join channel on number = ready.channel order by id`,
      ),
    ).toEqual([
      { name: 'email', lane: 0, priority: 1, flow: '0', run_at: '2026-01-01T00:00:00.000Z', id: '1' },
      { name: 'inbox', lane: 0, priority: 1, flow: '0', run_at: '2026-01-02T00:00:00.000Z', id: '2' },
    ])
    expect(await db.query('select id from live_delivery order by id')).toEqual([{ id: '1' }, { id: '2' }])
    await rm(before, { recursive: true })
  })

  test('refuses a file that was changed after it was applied', async () => {
    const { url, db } = await emptyDatabase(version)
    const directory = await filesOf({ '0001_one.sql': 'create table one ()', '0002_two.sql': 'create table two ()' })
    await migrate(url, directory)
    await writeFile(join(directory, '0002_two.sql'), 'create table second ()')
    await writeFile(join(directory, '0003_three.sql'), 'create table three ()')

    const again = migrate(url, directory)

    await expect(again).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('0002_two.sql was changed'),
    })
    await expect(pendingMigrations(url, directory)).rejects.toMatchObject({ code: 'conflict' })
    expect(await db.query(`select to_regclass('three') as three`)).toEqual([{ three: null }])
  })

  test('keeps nothing of a file that failed, and everything before it', async () => {
    const { url, db } = await emptyDatabase(version)
    const directory = await filesOf({
      '0001_one.sql': 'create table one ()',
      '0002_two.sql': 'create table two (); select 1 / 0;',
      '0003_three.sql': 'create table three ()',
    })

    const first = migrate(url, directory)

    await expect(first).rejects.toThrow('migrations/0002_two.sql failed: division by zero')
    expect(await db.query(`select to_regclass('one')::text as one, to_regclass('two') as two`)).toEqual([
      { one: 'one', two: null },
    ])
    await writeFile(join(directory, '0002_two.sql'), 'create table two ()')
    expect(await migrate(url, directory)).toEqual({ applied: ['0002_two.sql', '0003_three.sql'] })
  })

  test('keeps nothing of a file that it cannot note as applied', async () => {
    const { url, db } = await emptyDatabase(version)
    const directory = await filesOf({
      '0001_one.sql': `create table one (); insert into schema_migration (name, checksum) values ('0001_one.sql', '')`,
    })

    await expect(migrate(url, directory)).rejects.toThrow('duplicate key')
    expect(await db.query(`select to_regclass('one') as one`)).toEqual([{ one: null }])
  })

  test('builds an index beside running work, also when processes start together', async () => {
    const { url, db } = await emptyDatabase(version)
    const directory = await filesOf({
      '0001_table.sql': 'create table numbers (n integer)',
      '0002_index.sql': '-- no-transaction\ncreate index concurrently if not exists numbers_n on numbers (n)',
    })

    const results = await Promise.all([migrate(url, directory), migrate(url, directory)])

    expect(results.flatMap(({ applied }) => applied)).toEqual(['0001_table.sql', '0002_index.sql'])
    expect(await db.query(`select indisvalid from pg_index where indexrelid = 'numbers_n'::regclass`)).toEqual([
      { indisvalid: true },
    ])
  })
})

test('both versions end up with the same tables', async () => {
  const oldest = await emptyDatabase('15')
  const newest = await emptyDatabase('18')

  await migrate(oldest.url)
  await migrate(newest.url)

  expect(await columns(oldest.db)).toEqual(await columns(newest.db))
  expect(await indexes(oldest.db)).toEqual(await indexes(newest.db))
  expect(await columns(oldest.db)).toContainEqual(
    expect.objectContaining({ table_name: 'delivery', column_name: 'run_at' }),
  )
})

test('a file is the same with the line ends of another system', async () => {
  const { url } = await emptyDatabase('18')
  const directory = await filesOf({ '0001_one.sql': 'create table one ();\nselect 1;\n' })
  await migrate(url, directory)
  await writeFile(join(directory, '0001_one.sql'), 'create table one ();\r\nselect 1;\r\n')

  expect(await migrate(url, directory)).toEqual({ applied: [] })
})

test('a database that is away is unavailable', async () => {
  await expect(migrate('postgres://someone@/postgres?host=/nonexistent')).rejects.toMatchObject({ code: 'unavailable' })
})

const cleanups: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const cleanup of cleanups) await cleanup()
})

async function emptyDatabase(version: string): Promise<{ url: string; db: Db }> {
  const name = `migrate_${randomUUID().replaceAll('-', '')}`
  const server = connect(servers[version]!, { maxConnections: 1 })
  await server.query(`create database ${name} template template0`)
  await server.close()
  const url = servers[version]!.replace('/postgres?', `/${name}?`)
  const db = connect(url)
  cleanups.push(() => db.close())
  return { url, db }
}

async function filesOf(files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'eventcenter-migrations-'))
  cleanups.push(() => rm(directory, { recursive: true }))
  for (const [name, sql] of Object.entries(files)) await writeFile(join(directory, name), sql)
  return directory
}

const columns = (db: Db): Promise<unknown[]> =>
  db.query(`select table_name, column_name, ordinal_position, data_type, udt_name, is_nullable, column_default,
      is_identity, identity_generation, is_generated, generation_expression
    from information_schema.columns where table_schema = 'public' order by table_name, ordinal_position`)

const indexes = (db: Db): Promise<unknown[]> =>
  db.query(`select tablename, indexdef from pg_indexes where schemaname = 'public' order by indexname`)
