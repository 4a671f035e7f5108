import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster, Victim } from './cluster.ts'

/** A death: when, and of how many mails that were being sent somebody lost hold. */
export type Kill = { victim: Victim; at: Date; held: number }

/**
 * Kills a member of the cluster in the middle of its work: as soon as it is up and holds mails that are not sent yet.
 * A process is stopped before it is looked at, so that `held` is what it held when it died.
 */
export async function strike(cluster: Cluster, victim: Victim): Promise<Kill> {
  for (;;) {
    const pid = cluster.pidOf(victim)
    if (pid !== undefined) {
      if (victim !== 'database') signal(pid, 'SIGSTOP')
      const held = await mailsHeld(cluster, victim === 'database' ? null : pid)
      const at = new Date()
      if (held > 0 && cluster.pidOf(victim) === pid && (await cluster.kill(victim))) return { victim, at, held }
      if (victim !== 'database') signal(pid, 'SIGCONT')
    }
    await sleep(5)
  }
}

function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch {
    return // it is dead
  }
}

/** By this process, or by all; 0 while the database does not say. */
async function mailsHeld({ db }: Cluster, pid: number | null): Promise<number> {
  const rows = await db
    .query<{ held: number }>(
      `select count(*)::integer as held
       from lease join process on process_id = worker, unnest(ids) as leased(id) join delivery using (id)
       where ($1::integer is null or pid = $1) and channel = 'email' and state = 0`,
      [pid],
    )
    .catch(() => [])
  return rows[0]?.held ?? 0
}
