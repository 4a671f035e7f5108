import type { SystemModule } from './system.ts'

export const MEASURES = ['single', 'batch', 'process', 'latency', 'wake-up', 'pinned', 'http', 'pipeline'] as const
export type Measure = (typeof MEASURES)[number]

export type Store = 'postgres' | 'redis' | 'redisFsync'

/** A system as it is measured: which adapter, with which settings, in which measures. */
export type Contestant = {
  id: string
  label: string
  /** Path of the adapter, from this folder. Peers are loaded late: their packages may not be installed yet. */
  adapter: string
  store: Store
  settings: Readonly<Record<string, unknown>>
  measures: readonly Measure[]
  /** How it is set up, for the reader of the results. */
  note: string
}

const QUEUE_MEASURES: readonly Measure[] = ['single', 'batch', 'process', 'latency', 'wake-up']

/** In the order in which each round runs them. */
export const CONTESTANTS: readonly Contestant[] = [
  {
    id: 'eventcenter',
    label: 'EventCenter',
    adapter: './eventcenter.ts',
    store: 'postgres',
    settings: { claimSize: 500, isIdempotent: true },
    measures: [...QUEUE_MEASURES, 'pinned', 'http', 'pipeline'],
    note: 'accept and acceptBatch with an event id (idempotency key, event, notification, delivery, queue row); claims of 500 for a channel whose sends can be repeated; history kept',
  },
  {
    id: 'eventcenter-50',
    label: 'EventCenter, claims of 50',
    adapter: './eventcenter.ts',
    store: 'postgres',
    settings: { claimSize: 50 },
    measures: ['process'],
    note: 'claims of 50, two at a time, for a channel whose sends must not be repeated lightly: each claim is the note that its sends begin, so at most 100 can be uncertain after a crash',
  },
  {
    id: 'graphile-worker',
    label: 'graphile-worker, tuned',
    adapter: '../peers/graphile-worker.ts',
    store: 'postgres',
    settings: { isTuned: true },
    measures: QUEUE_MEASURES,
    note: 'concurrentJobs 50, localQueue of 500, completeJobBatchDelay 0; addJobs for batches; deletes finished jobs',
  },
  {
    id: 'graphile-worker-default',
    label: 'graphile-worker, default',
    adapter: '../peers/graphile-worker.ts',
    store: 'postgres',
    settings: { isTuned: false },
    measures: QUEUE_MEASURES,
    note: 'concurrentJobs 50, everything else as it comes',
  },
  {
    id: 'pg-boss',
    label: 'pg-boss, LISTEN',
    adapter: '../peers/pg-boss.ts',
    store: 'postgres',
    settings: { listens: true, batchSize: 50 },
    measures: QUEUE_MEASURES,
    note: 'useListenNotify, a queue with notify and a table of its own, 2 workers with batches of 50, burstWhenBatchFull; insert for batches; keeps finished jobs',
  },
  {
    id: 'pg-boss-polling',
    label: 'pg-boss, polling, batches of 500',
    adapter: '../peers/pg-boss.ts',
    store: 'postgres',
    settings: { listens: false, batchSize: 500 },
    measures: ['single', 'batch', 'process'],
    note: 'as above without NOTIFY and with batches of 500, which fail or succeed as a whole: its fastest, with a wake-up of half a second',
  },
  {
    id: 'bullmq',
    label: 'BullMQ, Redis without fsync',
    adapter: '../peers/bullmq.ts',
    store: 'redis',
    settings: {},
    measures: QUEUE_MEASURES,
    note: 'Redis without persistence; concurrency 50; addBulk for batches; removes finished jobs',
  },
  {
    id: 'bullmq-fsync',
    label: 'BullMQ, Redis with fsync',
    adapter: '../peers/bullmq.ts',
    store: 'redisFsync',
    settings: {},
    measures: QUEUE_MEASURES,
    note: 'the same on Redis with appendonly and appendfsync always',
  },
  {
    id: 'rows-alone-25',
    label: 'limit: its rows alone, 25 at a time',
    adapter: './rows-alone.ts',
    store: 'postgres',
    settings: { together: 25, events: 26_000 },
    measures: ['single'],
    note: 'no queue, but what PostgreSQL and the driver take for the rows of EventCenter: the same statements with values made before the clock starts, 25 events in each, two under way over one connection',
  },
  {
    id: 'rows-alone-100',
    label: 'limit: its rows alone, 500 at a time',
    adapter: './rows-alone.ts',
    store: 'postgres',
    settings: { together: 100, events: 42_000 },
    measures: ['batch'],
    note: 'the same for batches: five statements of 100 events in one transaction, sent without waiting',
  },
  {
    id: 'insert-alone',
    label: 'limit: one durable insert',
    adapter: './insert-alone.ts',
    store: 'postgres',
    settings: {},
    measures: ['latency'],
    note: 'no queue: a row of two columns on disk, and the handler is called',
  },
  {
    id: 'bare-fastify',
    label: 'bare Fastify, one insert',
    adapter: '',
    store: 'postgres',
    settings: {},
    measures: ['http'],
    note: 'a Fastify route that inserts the body into a table of two columns, with the same pool of 10 connections; no authentication, validation, idempotency, plan or log',
  },
]

export const load = async (adapter: string): Promise<SystemModule> => (await import(adapter)) as SystemModule
