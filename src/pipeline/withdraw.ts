import type { Ports } from '../ports.ts'
import { takeWithdrawal, withdrawPage } from '../store/withdraw.ts'

/** So that a shutdown need not wait long. */
const MAX_PAGES_PER_TURN = 20

/**
 * Ends what waits of cancelled and superseded events, page by page: nothing of it would be sent, but the counts would be
 * wrong, and what is due in a year would wait for a year. Any number of processes may do so at once.
 */
export async function withdrawWaiting({ db, queue, log }: Pick<Ports, 'db' | 'queue' | 'log'>): Promise<void> {
  let total = 0
  for (let page = 0; page < MAX_PAGES_PER_TURN; page++) {
    const withdrawal = await takeWithdrawal(db)
    if (!withdrawal) break
    const { ended } = await withdrawPage(db, withdrawal)
    total += ended
  }
  if (total === 0) return
  log.info({ count: total }, 'waiting deliveries withdrawn')
  // It may have been the turn of some of them.
  queue.wake()
}
