import { connect } from 'node:net'
import pg from 'pg'
import { runChild } from './run-child.ts'
import type { Sizes } from './sizes.ts'
import type { Contestant } from './systems/all.ts'

type Urls = { DATABASE_URL: string; REDIS_URL: string; REDIS_FSYNC_URL: string }

export type Databases = {
  /** Makes a new server like one that has run for weeks: its buffers were all used, its log is written into old files. */
  wearIn(): Promise<void>
  /** Creates the tables of a system once; each measure gets a copy. */
  prepare(contestant: Contestant, sizes: Sizes): Promise<void>
  /** Runs `work` with a store that holds nothing of earlier measures. */
  withFresh<Result>(contestant: Contestant, work: (url: string) => Promise<Result>): Promise<Result>
  close(): Promise<void>
}

/** Gives each measure a store of its own on the servers at `urls`. */
export async function openDatabases(urls: Urls): Promise<Databases> {
  const admin = new pg.Client({ connectionString: urls.DATABASE_URL })
  admin.on('error', () => {}) // its statements reject too; without one it was interrupted and is ending
  await admin.connect()
  const prepared = new Set<string>()

  const urlOf = (name: string): string => urls.DATABASE_URL.replace(/[^/]*$/, name)
  const drop = (name: string) => admin.query(`drop database if exists ${name} with (force)`)

  return {
    async wearIn() {
      await admin.query('create table worn (x text)') // filled when it is made, it would go past the buffers
      await admin.query(`insert into worn select repeat('x', 900) from generate_series(1, 700000)`)
      await admin.query('drop table worn')
      await admin.query('checkpoint')
    },

    async prepare(contestant, sizes) {
      const name = templateOf(contestant)
      if (contestant.store !== 'postgres' || prepared.has(name)) return
      prepared.add(name)
      await drop(name)
      await admin.query(`create database ${name}`)
      if (contestant.adapter !== '') await runChild({ measure: 'prepare', contestant, url: urlOf(name), sizes })
    },

    async withFresh(contestant, work) {
      if (contestant.store !== 'postgres') {
        const url = contestant.store === 'redis' ? urls.REDIS_URL : urls.REDIS_FSYNC_URL
        await flush(url)
        return work(url)
      }
      await drop('bench')
      await admin.query(`create database bench template ${templateOf(contestant)}`)
      // So that no checkpoint of earlier work falls into the measure.
      await admin.query('checkpoint')
      try {
        return await work(urlOf('bench'))
      } finally {
        await drop('bench')
      }
    },

    close: () => admin.end(),
  }
}

const templateOf = ({ adapter }: Contestant): string => `prepared_${adapter.replaceAll(/\W+/g, '_')}`

async function flush(url: string): Promise<void> {
  const { hostname, port } = new URL(url)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = connect(Number(port), hostname, () => socket.write('FLUSHALL\r\n'))
  socket.once('data', (data) => resolve(data.toString()))
  socket.once('error', reject)
  const answer = await promise
  socket.destroy()
  if (answer !== '+OK\r\n') throw new Error(`Redis refused to forget: ${answer}`)
}
