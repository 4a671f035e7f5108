import { performance } from 'node:perf_hooks'
import { PRIORITIES } from '../core/event.ts'
import { nameOf, type Place } from './queue.ts'
import { shares, type Company, type Flow } from './shares.ts'

/** A row may become visible this much after a later one: how far behind the last claim the next one looks. */
const WATERMARK_SLACK_MS = 2000
/** How often a claim looks so far behind; those between begin where the last one ended. */
const LOOK_BEHIND_MS = 200
/** How often everything of a flow is looked at, whatever its watermark. */
const FULL_SWEEP_MS = 5000
/** A flow of which nothing came for so long takes no part in the shares. */
const QUIET_MS = 10_000
/** What was claimed of one flow may be stepped over again, up to so many rows. */
const FEW_ROWS = 1000
/** One of which more was claimed is remembered for longer: vacuum may not have been there yet. */
const REMEMBERED_MS = 600_000
const MAX_FLOWS = 100
/** What is not due yet, and second attempts. It is always known. */
const COMMON = 0n
const LAST_FLOW = 2n ** 63n - 1n
const EVER = '-infinity'

/** A part of one priority's queue: flows from one to another, and how many rows may be taken of it. */
export type Span = { priority: number; from: string; to: string; since: string; quota: number }

/** What a claim took of one flow; `last` is the latest run_at. */
export type Taken = { priority: number; flow: string; count: number; last: string }

type KnownFlow = Flow & {
  id: bigint
  /** The latest run_at that was claimed, and the watermark. */
  last: string
  since: string
  sweptAtMs: number
  lookedBehindAtMs: number
  lookedAtAllAtMs: number
  takenAtMs: number
  taken: number
}
/** `newcomers` stands for all flows that are not known; `cursor` is the last that was one. */
type Shelf = { flows: Map<string, KnownFlow>; newcomers: Company; cursor: bigint }

export type Turns = {
  /** What a claim of so many looks at, in this order. */
  spans(place: Place, priorities: readonly number[], limit: number): Span[]
  /** All that there may be in a place, to be looked at without taking anything. */
  all(place: Place): Span[]
  /** A claim took this of the spans. Returns whether there may be more. */
  note(place: Place, spans: readonly Span[], limit: number, taken: readonly Taken[]): boolean
  /** These spans were looked at from end to end, and nothing is left behind in them. */
  swept(place: Place, spans: readonly Span[]): void
  /** Work came back with its old run_at. */
  forget(): void
}

/**
 * Whose turn it is in each place and priority. Flows that had work lately are known, each with a watermark: where its next
 * look begins, so that rows which are gone, but not vacuumed yet, are not stepped over again. With a long transaction open
 * elsewhere these would be all rows ever claimed. All other flows are found in the gaps between the known ones.
 */
export function turns(clockMs: () => number = () => performance.now()): Turns {
  const shelves = new Map<string, Shelf>()

  function shelfOf(place: Place, priority: number): Shelf {
    const key = `${nameOf(place)} ${priority}`
    const known = shelves.get(key)
    if (known) return known
    const shelf: Shelf = { flows: new Map(), newcomers: { time: 0 }, cursor: COMMON }
    shelves.set(key, shelf)
    addFlow(shelf, COMMON)
    return shelf
  }

  function addFlow({ flows, newcomers }: Shelf, id: bigint): KnownFlow {
    const siblings = [...flows.values()].filter((flow) => flow.id >> 32n === id >> 32n)
    const flow: KnownFlow = {
      id,
      // Who comes late is level with the others: he does not get at once what they had meanwhile.
      company: siblings[0]?.company ?? { time: newcomers.time },
      time: siblings.length === 0 ? 0 : Math.min(...siblings.map(({ time }) => time)),
      isDeep: false,
      isQuiet: false,
      last: EVER,
      since: EVER,
      sweptAtMs: clockMs(),
      lookedBehindAtMs: -Infinity,
      lookedAtAllAtMs: -Infinity,
      takenAtMs: -Infinity,
      taken: 0,
    }
    flows.set(String(id), flow)
    return flow
  }

  /** Forgets who has been quiet, and whom there is no room for. */
  function tidy({ flows }: Shelf): void {
    const now = clockMs()
    for (const flow of flows.values()) flow.isQuiet = now - flow.takenAtMs > QUIET_MS
    if (flows.size === 1) return
    const forgettable = [...flows.values()].filter(({ id }) => id !== COMMON)
    const over = forgettable.filter(({ taken, takenAtMs, isQuiet }) =>
      taken < FEW_ROWS ? isQuiet : now - takenAtMs > REMEMBERED_MS,
    )
    for (const { id } of over) flows.delete(String(id))
    if (flows.size <= MAX_FLOWS) return
    const oldest = forgettable.toSorted((a, b) => a.takenAtMs - b.takenAtMs)
    for (const { id } of oldest.slice(0, flows.size - MAX_FLOWS)) flows.delete(String(id))
  }

  const isFresh = (flow: KnownFlow): boolean => clockMs() - flow.sweptAtMs < FULL_SWEEP_MS
  const spanOf = (priority: number, flow: KnownFlow, quota: number): Span => ({
    priority,
    from: String(flow.id),
    to: String(flow.id),
    since: isFresh(flow) ? flow.since : EVER,
    quota,
  })

  /**
   * Rows that were claimed a moment ago are many where much is done, and each claim would step over them all: still more
   * where everything is to be looked at, which the claims beside the one that does it leave to that one.
   */
  function claimSpanOf(priority: number, flow: KnownFlow, quota: number): Span {
    const span = spanOf(priority, flow, quota)
    const look = isFresh(flow) ? 'lookedBehindAtMs' : 'lookedAtAllAtMs'
    if (clockMs() - flow[look] < LOOK_BEHIND_MS) return { ...span, since: flow.last }
    flow.lookedBehindAtMs = flow[look] = clockMs()
    return span
  }

  const everything = (shelf: Shelf, priority: number, quota: number): Span[] => [
    ...[...shelf.flows.values()].map((flow) => spanOf(priority, flow, quota)),
    ...gapsOf(shelf, priority, quota),
  ]

  function noteFlow(shelf: Shelf, { flow: key, count, last }: Taken): void {
    const known = shelf.flows.get(key)
    const flow = known ?? addFlow(shelf, BigInt(key))
    if (!known) {
      shelf.newcomers.time += count
      shelf.cursor = flow.id
    }
    flow.last = last
    flow.since = new Date(Date.parse(last) - WATERMARK_SLACK_MS).toISOString()
    flow.takenAtMs = clockMs()
    flow.taken += count
    flow.time += count
    flow.company.time += count
  }

  /** Only from its beginning: by the time of the answer a watermark may have lasted too long. */
  function noteLook(flow: KnownFlow | undefined, { since }: Span): void {
    if (flow && since === EVER) flow.sweptAtMs = clockMs()
  }

  return {
    spans: (place, priorities, limit) =>
      priorities.flatMap((priority) => {
        const shelf = shelfOf(place, priority)
        tidy(shelf)
        // Nobody is known: there is nothing to share yet.
        if (shelf.flows.size === 1) return everything(shelf, priority, limit)
        return shares([...shelf.flows.values()], shelf.newcomers, limit).flatMap(({ of, quota }) =>
          of === null ? gapsOf(shelf, priority, quota) : [claimSpanOf(priority, of, quota)],
        )
      }),

    all: (place) =>
      Object.values(PRIORITIES).flatMap((priority) => {
        const shelf = shelfOf(place, priority)
        tidy(shelf)
        return everything(shelf, priority, 1)
      }),

    note(place, spans, limit, taken) {
      const total = sumOf(taken)
      for (const one of taken) noteFlow(shelfOf(place, one.priority), one)
      let [hasMore, left] = [total >= limit, limit]
      for (const span of spans) {
        const { priority, from, to, quota } = span
        if (left === 0) {
          notReached(shelfOf(place, priority).flows.get(from))
          continue
        }
        const its = taken.filter((one) => one.priority === priority && isBetween(one.flow, from, to))
        const count = sumOf(its)
        left -= count
        const hadMore = count >= quota || left === 0
        if (hadMore) hasMore = true
        const asked = from === to ? from : its.at(-1)?.flow
        const flow = asked === undefined ? undefined : shelfOf(place, priority).flows.get(asked)
        if (flow) flow.isDeep = hadMore
        noteLook(flow, span)
      }
      return hasMore
    },

    swept(place, spans) {
      for (const span of spans) noteLook(shelfOf(place, span.priority).flows.get(span.from), span)
    },

    forget() {
      for (const { flows } of shelves.values()) for (const flow of flows.values()) flow.last = flow.since = EVER
    },
  }
}

/** The gaps between the known flows, from behind the newcomer that was found last, so that each gets its turn. */
function gapsOf({ flows, cursor }: Shelf, priority: number, quota: number): Span[] {
  const known = [...flows.values()].map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1))
  const gaps = known
    .map((id, index) => ({ from: id + 1n, to: (known[index + 1] ?? LAST_FLOW + 1n) - 1n }))
    .filter(({ from, to }) => from <= to)
  const behind = Math.max(
    0,
    gaps.findIndex(({ from }) => from > cursor),
  )
  return [...gaps.slice(behind), ...gaps.slice(0, behind)].map(({ from, to }) => ({
    priority,
    from: String(from),
    to: String(to),
    since: EVER,
    quota,
  }))
}

const sumOf = (taken: readonly Taken[]): number => taken.reduce((sum, { count }) => sum + count, 0)

const isBetween = (flow: string, from: string, to: string): boolean =>
  from === to ? flow === from : BigInt(flow) >= BigInt(from) && BigInt(flow) <= BigInt(to)

/** A full claim says nothing of those that it did not come to: what it was to look at is left to the next one. */
function notReached(flow: KnownFlow | undefined): void {
  if (flow) flow.lookedBehindAtMs = flow.lookedAtAllAtMs = -Infinity
}
