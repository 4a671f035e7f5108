import { STATES, type State } from '../core/delivery.ts'
import type { Db, Queryable } from '../db/db.ts'
import { INVARIANTS, type Knowledge, type Scope } from './invariants.ts'

/** One thing that breaks a rule. `id` is a row id, or what the rule is about. */
export type Violation = { id: string; detail: string }

/** A rule and what breaks it, at most `limit` of them. */
export type Finding = { name: string; says: string; violations: Violation[]; hasMore: boolean }

/** What the database holds, in numbers. */
export type Totals = { events: number; promised: number; deliveries: Record<State, number> }

export type CheckOptions = {
  /** Looks only at rows whose id is greater; '0' is everything. Inboxes and keys have no time and are looked at whole. */
  afterId: string
  /** Violations told of each rule. */
  limit: number
  /** Rows looked at in one snapshot. */
  pageSize: number
  knowledge: Knowledge
  /** Called for every page of deliveries, within its snapshot. */
  onDeliveries?: (page: Page, tx: Queryable) => Promise<void>
}

/** Rows after `from` up to `until`, as parameters of a statement. */
export type Page = { from: unknown; until: unknown }

/**
 * Checks all invariants. Each page is one read-only snapshot of its own, so that a check of a large database holds up
 * vacuum for no longer than a page takes.
 */
export async function checkInvariants(
  db: Db,
  { afterId, limit, pageSize, knowledge, onDeliveries }: CheckOptions,
): Promise<{ findings: Finding[]; totals: Totals }> {
  const findings = new Map<string, Finding>(
    INVARIANTS.map(({ name, says }) => [name, { name, says, violations: [], hasMore: false }]),
  )
  const totals = noTotals()

  await snapshot(db, (tx) => check(tx, 'queue', null))
  for (const scope of Object.keys(WALKS) as (keyof typeof WALKS)[]) await walk(scope)
  return { findings: [...findings.values()], totals }

  async function walk(scope: keyof typeof WALKS): Promise<void> {
    const { first, bound } = WALKS[scope]
    let from = first(afterId)
    for (;;) {
      const until = await snapshot(db, async (tx) => {
        const [row] = await tx.query<{ until: unknown }>(bound, [from, pageSize])
        if (!row || row.until === null) return null
        const page = { from, until: row.until }
        await check(tx, scope, page)
        if (scope === 'event') await addEvents(tx, totals, page)
        if (scope === 'delivery') await addDeliveries(tx, totals, page)
        if (scope === 'delivery') await onDeliveries?.(page, tx)
        return page.until
      })
      if (until === null) return
      from = until
    }
  }

  async function check(tx: Queryable, scope: Scope, page: Page | null): Promise<void> {
    for (const { name, sql, needs } of INVARIANTS.filter((invariant) => invariant.scope === scope)) {
      const finding = findings.get(name)
      if (!finding || finding.hasMore) continue
      const params = [
        ...(page === null ? [] : [page.from, page.until]),
        limit + 1,
        ...(needs ? [knowledge[needs]] : []),
      ]
      addViolations(finding, await tx.query<Violation>(sql, params), limit)
    }
  }
}

/** Adds what a statement found; what is beyond the limit only counts as more. */
export function addViolations(finding: Finding, found: readonly Violation[], limit: number): void {
  const free = limit - finding.violations.length
  finding.violations.push(...found.slice(0, free))
  if (found.length > free) finding.hasMore = true
}

/** Runs `work` on one unchanging view of the database. */
export const snapshot = <Result>(db: Db, work: (tx: Queryable) => Promise<Result>): Promise<Result> =>
  db.transaction(async (tx) => {
    await tx.query('set transaction isolation level repeatable read, read only')
    return work(tx)
  })

const byId = (table: string, id = 'id') => ({
  first: (afterId: string): unknown => afterId,
  bound: `select max(id) as until from (select ${id} as id from ${table} where ${id} > $1 order by 1 limit $2) as page`,
})

/** How each table is walked through: where to begin, and the last row of the page after `$1` with `$2` rows. */
const WALKS = {
  event: byId('event'),
  delivery: byId('delivery'),
  notification: byId('notification'),
  dead: byId('dead', 'delivery_id'),
  idem: {
    first: (): unknown => '00000000-0000-0000-0000-000000000000',
    bound: `select key as until from (select key from idem where key > $1 order by key limit $2) as page
      order by key desc limit 1`,
  },
  inbox: {
    first: (): unknown => ['', ''],
    bound: `select array[company_id, user_id] as until from (
        select company_id, user_id from inbox where (company_id, user_id) > (($1::text[])[1], ($1::text[])[2])
        order by company_id, user_id limit $2) as page
      order by company_id desc, user_id desc limit 1`,
  },
}

const noTotals = (): Totals => ({
  events: 0,
  promised: 0,
  deliveries: Object.fromEntries(Object.keys(STATES).map((state) => [state, 0])) as Record<State, number>,
})

async function addEvents(tx: Queryable, totals: Totals, { from, until }: Page): Promise<void> {
  const [row] = await tx.query<{ events: number; promised: number }>(
    `select count(*)::integer as events, coalesce(sum(jobs_count), 0)::integer as promised from event
     where id > $1 and id <= $2`,
    [from, until],
  )
  totals.events += row?.events ?? 0
  totals.promised += row?.promised ?? 0
}

async function addDeliveries(tx: Queryable, totals: Totals, { from, until }: Page): Promise<void> {
  const rows = await tx.query<{ state: number; count: number }>(
    'select state, count(*)::integer as count from delivery where id > $1 and id <= $2 group by state',
    [from, until],
  )
  for (const [state, number] of Object.entries(STATES) as [State, number][]) {
    totals.deliveries[state] += rows.find((row) => row.state === number)?.count ?? 0
  }
}
