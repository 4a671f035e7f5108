import type { Logger } from 'pino'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel } from '../channels/channel.ts'
import { flowOf, type Account } from '../core/account.ts'
import { coalesced } from '../core/coalesce.ts'
import type { Db } from '../db/db.ts'
import type { Metrics } from '../metrics.ts'
import { ACCOUNT_STOPS, stopAccount, stoppedAccounts, takeSlots } from '../store/account-bucket.ts'
import { accountTokens, type AccountTokens } from './account-tokens.ts'
import type { Accounts } from './accounts.ts'

type Ports = { db: Db; channels: ReadonlyMap<string, Pick<Channel, 'account'>>; metrics: Metrics; log: Logger }

type Options = {
  /** Of each account's rate, kept for messages to one person. */
  reservePercent: number
  /** Other processes use the same accounts, and this one has to hear of it when one of them is stopped. */
  isShared: boolean
}

type Open = Account & {
  channel: string
  tokens: AccountTokens | null
  stoppedUntil: number
  /** Until when the database knows that it is stopped. */
  knownUntil: number
  toldAtMs: number
  isBeingTold: boolean
}

/** Then it is asked anew, so that a stop that somebody ends by hand is over soon. */
const LONGEST_WAIT_MS = 5000
/** After a stop that the database could not be told of, or could not tell of. */
const AGAIN_MS = 1000

/**
 * The accounts of the channels. One without a limit costs no statement; one with a limit is counted in the database, where
 * all processes count together. See docs/decisions/010-provider-accounts.md.
 */
export function providerAccounts(
  { db, channels, metrics, log }: Ports,
  { reservePercent, isShared }: Options,
): Accounts {
  const closing = new AbortController()
  const accounts = new Map<string, Open>()
  for (const [channel, { account }] of channels) {
    if (!account) continue
    const { key, perSecond } = account
    const open: Open = { ...account, channel, tokens: null, ...UNSTOPPED }
    if (perSecond !== undefined) {
      const flow = flowOf({ ...account, perSecond }, reservePercent)
      open.tokens = accountTokens(flow, async (wanted, isForPerson) => {
        const taken = await takeSlots(db, { account: key, channel }, flow, wanted, isForPerson)
        // An answer that was on its way while the account was stopped must not end the stop.
        if (taken.stoppedSeconds > 0) noteRead(open, taken.stoppedSeconds, isUntold(open))
        return taken
      })
    }
    accounts.set(channel, open)
  }

  const readStops = async (): Promise<void> => {
    const askedAtMs = performance.now()
    const stops = await stoppedAccounts(db)
    for (const open of accounts.values()) {
      const seconds = stops.find(({ account }) => account === open.key)?.seconds ?? 0
      // What was read before the database knew of a stop must not end it.
      noteRead(open, seconds, isUntold(open) || open.toldAtMs > askedAtMs)
    }
  }
  const reading = coalesced(
    async (calls: undefined[]) => {
      await untilDone(readStops, 'stopped accounts not read, for now')
      return calls
    },
    { maxInputs: Number.MAX_SAFE_INTEGER, maxRunning: 1 },
  )
  const refresh = (): void => void reading(undefined)
  const listening =
    isShared && accounts.size > 0
      ? untilDone(() => db.listen(ACCOUNT_STOPS, refresh, refresh), 'stops of other processes are not heard, for now')
      : null
  if (!isShared && accounts.size > 0) refresh()

  /** Nobody would tell of the same stops again. Null: the end came first. */
  async function untilDone<Output>(work: () => Promise<Output>, complaint: string): Promise<Output | null> {
    while (!closing.signal.aborted) {
      try {
        return await work()
      } catch (error) {
        log.warn({ err: error }, complaint)
        await sleep(AGAIN_MS, undefined, { signal: closing.signal, ref: false }).catch(() => {})
      }
    }
    return null
  }

  async function tellDatabase(account: Open, seconds: number, reason: string): Promise<void> {
    const stop = await stopAccount(db, { account: account.key, channel: account.channel }, seconds)
    noteStop(account, longer(account, stop.seconds))
    account.toldAtMs = performance.now()
    account.knownUntil = account.toldAtMs + stop.seconds * 1000
    if (stop.isNew) tell(account, stop.seconds, reason)
  }

  /** The others go on until they hear of it. */
  async function tellLater(account: Open, reason: string): Promise<void> {
    if (account.isBeingTold) return
    account.isBeingTold = true
    for (;;) {
      await sleep(AGAIN_MS, undefined, { signal: closing.signal, ref: false }).catch(() => {})
      if (closing.signal.aborted || !isUntold(account)) break
      await tellDatabase(account, millisecondsStopped(account) / 1000, reason).catch(() => {})
    }
    account.isBeingTold = false
  }

  function tell({ key, channel }: Open, seconds: number, reason: string): void {
    metrics.accountStops.inc({ account: key })
    log.warn({ account: key, channel, seconds: Math.ceil(seconds), reason }, 'provider account stopped')
  }

  function grantedOf({ key }: Open, lane: string, count: number): void {
    metrics.accountTokens.inc({ account: key, lane }, count)
  }

  return {
    limits: (channel) => accounts.has(channel),

    async grant({ channel, lane, count }) {
      const account = accounts.get(channel)
      if (!account) return { count }
      if (millisecondsStopped(account) > 0) await readStops()
      if (millisecondsStopped(account) > 0) return later(millisecondsStopped(account))
      const grant = await account.tokens?.grant(lane, count)
      // It may have been stopped meanwhile.
      if (millisecondsStopped(account) > 0) return later(millisecondsStopped(account))
      if (!grant) return { count }
      if (grant.count === 0) return later(grant.retryAfterMs ?? LONGEST_WAIT_MS)
      grantedOf(account, lane, grant.count)
      return grant
    },

    grantNow({ channel, lane, count }) {
      const account = accounts.get(channel)
      if (!account) return true
      if (millisecondsStopped(account) > 0) return false
      if (!account.tokens) return true
      if (!account.tokens.grantNow(lane, count)) return false
      grantedOf(account, lane, count)
      return true
    },

    giveBack({ channel, lane, count }) {
      accounts.get(channel)?.tokens?.giveBack(lane, count)
    },

    async stop(channel, seconds, reason) {
      const account = accounts.get(channel)
      if (!account) return 0
      // At once here, and whatever becomes of the statement: what is being sent now would be refused as well.
      noteStop(account, longer(account, seconds))
      try {
        await tellDatabase(account, seconds, reason)
      } catch (error) {
        log.error(
          { err: error, account: account.key, channel, reason },
          'provider account stopped in this process only, for now',
        )
        void tellLater(account, reason)
      }
      return millisecondsStopped(account) / 1000
    },

    secondsStopped(channel) {
      const account = accounts.get(channel)
      return account ? millisecondsStopped(account) / 1000 : 0
    },

    async moment({ channel, lane }, signal) {
      const now = performance.now()
      const waitMs = (accounts.get(channel)?.tokens?.nextMoment(lane, now) ?? now) - now
      if (waitMs > 0) await sleep(waitMs, undefined, { signal })
    },

    async close() {
      closing.abort()
      for (const { tokens } of accounts.values()) tokens?.close()
      await (await listening)?.stop()
    },
  }
}

function noteStop(account: Open, seconds: number): void {
  if (seconds > 0) account.tokens?.drop()
  account.stoppedUntil = seconds > 0 ? performance.now() + seconds * 1000 : 0
}

const UNSTOPPED = { stoppedUntil: 0, knownUntil: 0, toldAtMs: 0, isBeingTold: false }

/** The database knows of no stop, or of a shorter one. */
const isUntold = ({ stoppedUntil, knownUntil }: Open): boolean =>
  stoppedUntil > performance.now() && stoppedUntil > knownUntil

function noteRead(account: Open, seconds: number, mayBeOld: boolean): void {
  noteStop(account, mayBeOld ? longer(account, seconds) : seconds)
  if (!mayBeOld) account.knownUntil = account.stoppedUntil
}

const millisecondsStopped = ({ stoppedUntil }: Open): number => Math.max(0, stoppedUntil - performance.now())

/** Answers do not come in the order in which they were given. */
const longer = (account: Open, seconds: number): number => Math.max(seconds, millisecondsStopped(account) / 1000)

const later = (ms: number) => ({ count: 0, retryAfterMs: Math.min(ms, LONGEST_WAIT_MS) })
