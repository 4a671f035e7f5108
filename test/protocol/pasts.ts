import { STATES } from '../../src/core/delivery.ts'
import { after, PLANNED, type ChangeName, type Life } from '../../src/core/delivery-life.ts'
import { LANES } from '../../src/core/event.ts'
import type { Verdict } from '../../src/core/errors.ts'
import type { Db } from '../../src/db/db.ts'

type Steps = readonly (readonly [ChangeName, Verdict?])[]

const crash: Steps = [['claim as begun'], ['resend after a crash', 'uncertain']]

/** What may have happened to deliveries before a test begins, as it would take long to come about by chance. */
export const PASTS = {
  none: [],
  'crashed twice': [...crash, ...crash],
  refused: [['claim'], ['failed', 'reject']],
  doubtful: [['claim'], ['begin'], ['uncertain', 'uncertain']],
} as const satisfies Record<string, Steps>
export type Past = keyof typeof PASTS

export function lifeAfter(past: Past): Life {
  const steps: Steps = PASTS[past]
  return steps.reduce<Life>((life, [name, verdict]) => {
    const next = after(life, name, verdict)
    if (!next) throw new Error(`"${name}" cannot happen to ${JSON.stringify(life)}`)
    return next
  }, PLANNED)
}

/** Writes it down for deliveries that were planned a moment ago. */
export async function writePast(db: Db, ids: readonly string[], { state, stage, verdicts, attempt, crashes }: Life) {
  await db.query(
    `with told as (
       insert into attempt_log (delivery_id, n, verdict, message)
       select id, n, verdict, 'before' from unnest($1::bigint[]) as id, unnest($2::text[]) with ordinality as said(verdict, n)
     ),
     unqueued as (
       delete from ready where id = any($1::bigint[]) and $3
     ),
     -- What was tried is a retry.
     retried as (
       update ready set lane = $8, flow = 0 where id = any($1::bigint[]) and not $3 and $6::integer > 0
     ),
     buried as (
       insert into dead (delivery_id, kind, reason) select id, $4, 'before' from unnest($1::bigint[]) as id where $3
     )
     update delivery set state = $5, attempt = $6, crashes = $7, finished_at = case when $3 then now() end
     where id = any($1::bigint[])`,
    [ids, verdicts, stage === 'letter', state, STATES[state], attempt, crashes, LANES.retry],
  )
}
