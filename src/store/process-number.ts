import type { Queryable } from '../db/db.ts'

/** Longer than any pause after which a process could go on making ids under a number that is another's by then. */
const LEASE_SECONDS = 60

export type ProcessInfo = { processId: string; host: string; pid: number; roles: readonly string[] }

/**
 * Takes a number (0 to 255) that no living process holds: the process part of row ids. Never-used ones go first, then
 * those that have been free the longest: a process that was paused and goes on meets nobody under its number. Also tells
 * operators which processes live. Throws when all are taken.
 */
export async function takeProcessNumber(db: Queryable, info: ProcessInfo): Promise<number> {
  const rows = await db.query<{ number: number }>(
    `insert into process (number, process_id, host, pid, roles, until)
     select n, $1, $2, $3, $4, now() + make_interval(secs => ${LEASE_SECONDS})
     from generate_series(0, 255) n left join process on process.number = n
     where process.until is null or process.until <= now()
     order by process.until nulls first, n limit 1
     on conflict (number) do update set process_id = excluded.process_id, host = excluded.host, pid = excluded.pid,
       roles = excluded.roles, started_at = now(), until = excluded.until
       where process.until <= now()
     returning number`,
    [info.processId, info.host, info.pid, info.roles],
  )
  const [row] = rows
  if (row) return row.number
  throw new Error('No process number is free: two processes started at once, or 256 are running')
}

/** Keeps the number; false when another process has it by now. */
export async function renewProcessNumber(db: Queryable, number: number, processId: string): Promise<boolean> {
  const rows = await db.query(
    `update process set until = now() + make_interval(secs => ${LEASE_SECONDS})
     where number = $1 and process_id = $2 returning number`,
    [number, processId],
  )
  return rows.length > 0
}

/** Frees the number at a clean stop. */
export async function freeProcessNumber(db: Queryable, number: number, processId: string): Promise<void> {
  await db.query('update process set until = now() where number = $1 and process_id = $2', [number, processId])
}
