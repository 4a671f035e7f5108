import { expect } from 'vitest'
import { STATES, type State } from '../../src/core/delivery.ts'
import { LANES, type Lane } from '../../src/core/event.ts'
import type { Db } from '../../src/db/db.ts'
import { checkInvariants } from '../../src/store/check-invariants.ts'
import { unaccountedCopies } from '../../src/store/check-records.ts'
import type { Model, ModelDelivery } from './model.ts'
import type { World } from './world.ts'

const TABLES = ['event', 'delivery', 'ready', 'lease', 'intent', 'dead', 'attempt_log', 'withdrawal']

export async function emptyBooks(db: Db): Promise<void> {
  for (const table of TABLES) await db.query(`delete from ${table}`)
}

/** The books say of every delivery what the model says, and of every lease. */
export async function expectBooks(db: Db, model: Model): Promise<void> {
  const [deliveries, leases, orphans] = await Promise.all([
    db.query<DeliveryRow>(DELIVERIES),
    db.query<{ id: string; until: string }>('select id, until from lease order by id'),
    db.query('select id from intent where not exists (select from lease where lease.id = lease_id)'),
  ])
  expect(orphans).toEqual([])
  expect(deliveries.map(facts)).toEqual([...model.deliveries.values()].map(expected))
  expect(leases.map(({ id, until }) => [id, Date.parse(until)])).toEqual(
    [...model.leases].map(([id, { untilMs }]) => [id, untilMs]),
  )
}

/** What must be true of the books whatever happened, and of what arrived outside. */
export async function expectLaws(db: Db, world: World): Promise<void> {
  const { findings } = await checkInvariants(db, {
    afterId: '0',
    limit: 5,
    pageSize: 1000,
    knowledge: { inboxChannels: [], eventsAfterId: '0', notificationDays: 0 },
  })
  expect(findings.filter(({ violations }) => violations.length > 0)).toEqual([])

  const counted = await unaccountedCopies(
    db,
    [...world.copies].map(([id, count]) => ({ id, copies: count })),
  )
  expect(counted).toEqual({ unknown: [], doubled: [] })
  world.expectNoneTwice()
}

type DeliveryRow = {
  id: string
  state: number
  attempt: number
  attempts_before: number
  crashes: number
  run_at: string
  waits: { lane: number; run_at: string }[]
  leases: string[]
  is_begun: boolean
  letter: string | null
  verdicts: string[]
  is_finished: boolean
}

const DELIVERIES = `
select id, state, attempt, attempts_before, crashes, run_at, finished_at is not null as is_finished,
  (select coalesce(jsonb_agg(jsonb_build_object('lane', lane, 'run_at', run_at)), '[]') from ready where ready.id = d.id) as waits,
  array(select id from lease where d.id = any(ids)) as leases,
  exists (select from lease where d.id = any(ids) and (started or exists (
    select from intent where lease_id = lease.id and d.id = any(intent.ids)))) as is_begun,
  (select kind from dead where delivery_id = d.id) as letter,
  array(select verdict from attempt_log where delivery_id = d.id and n > attempts_before order by n) as verdicts
from delivery d order by id`

const nameOf = (number: number): string =>
  (Object.keys(STATES) as State[]).find((state) => STATES[state] === number) ?? `state ${number}`
const laneOf = (number: number): string => (Object.keys(LANES) as Lane[]).find((lane) => LANES[lane] === number) ?? '?'

/** A delivery in the model's words; what is in two places, or in a wrong one, gets a stage that the model does not know. */
function facts(row: DeliveryRow) {
  const stages = [
    ...row.waits.map(({ lane, run_at }) => `queue ${laneOf(lane)} ${Date.parse(run_at)}`),
    ...row.leases.map((id) => `${row.is_begun ? 'begun' : 'lease'} ${id}`),
    ...(row.letter === null ? [] : [`letter ${row.letter}`]),
    ...(row.is_finished ? ['ended'] : []),
  ]
  return {
    id: row.id,
    state: nameOf(row.state),
    stages,
    attempt: row.attempt,
    attemptsBefore: row.attempts_before,
    crashes: row.crashes,
    verdicts: row.verdicts,
  }
}

function expected({ id, life, queueLane, runAtMs, leaseId }: ModelDelivery): ReturnType<typeof facts> {
  const { state, stage, attempt, attemptsBefore, crashes, verdicts } = life
  const stages = {
    queue: [`queue ${queueLane} ${runAtMs}`],
    lease: [`lease ${leaseId}`],
    begun: [`begun ${leaseId}`],
    letter: [`letter ${state}`, 'ended'],
    settled: ['ended'],
  }[stage]
  return { id, state, stages, attempt, attemptsBefore, crashes, verdicts: [...verdicts] }
}
