import { find, ratio, valuesOf, type Result } from './results.ts'
import { median } from './statistics.ts'

/** One thing that must be reached; `value` is NaN when it was not measured. */
export type Bar = { what: string; value: number; bar: number; isAtLeast: boolean; unit: string }

export const passes = ({ value, bar, isAtLeast }: Bar): boolean => (isAtLeast ? value >= bar : value <= bar)

const ON_POSTGRES = ['graphile-worker', 'graphile-worker-default', 'pg-boss', 'pg-boss-polling']
const PEERS = [...ON_POSTGRES, 'bullmq', 'bullmq-fsync']

/** What the project has set itself to reach, against what was measured; only what was measured. */
export function bars(results: readonly Result[]): Bar[] {
  const { rate, slowness, againstBest } = comparisons(results)
  const [single, batch, latency] = accepting(results, OURS)
  const label = (id: string): string => results.find(({ contestant }) => contestant.id === id)?.contestant.label ?? id
  const numberOf = (id: string, measure: Result['measure'], name: string): number =>
    median(valuesOf(find(results, measure, id), name))

  const all = [
    single,
    ...ON_POSTGRES.map((id) => times(`single enqueue / ${label(id)}`, rate('single', id), 20)),
    batch,
    times('processing, claims of 500 / the best', againstBest('process'), 1.4),
    times('processing, claims of 50 / the best', againstBest('process', 'eventcenter-50'), 1.2),
    latency,
    atMost('wake-up of another process, p50 / pg-boss', slowness('wake-up', 'pg-boss'), 0.9, '×'),
    { ...times('rate kept under a pinned vacuum', numberOf('eventcenter', 'pinned', 'keptPercent'), 90), unit: ' %' },
    // Sending is about as much work as accepting: when much less is left of it, something is wrong.
    times(
      'the whole way over HTTP / accepted over HTTP',
      ratio(find(results, 'pipeline', 'eventcenter'), find(results, 'http', 'eventcenter'), 'perSecond'),
      0.3,
    ),
    ...(['single', 'batch', 'process'] as const).flatMap((measure) => [
      atMost(`event loop p99, ${measure}`, numberOf('eventcenter', measure, 'loopP99Ms'), 20, ' ms'),
      atMost(`longest block of the event loop, ${measure}`, numberOf('eventcenter', measure, 'loopMaxMs'), 50, ' ms'),
    ]),
  ]
  return all.filter(({ value }) => Number.isFinite(value))
}

/** What accepting must reach, had EventCenter nothing to do but to have its rows stored. */
export const limits = (results: readonly Result[]): Bar[] =>
  accepting(results, LIMITS).filter(({ value }) => Number.isFinite(value))

/** Processor time a job, in microseconds: what a goal leaves when all processors do nothing else, and what was taken. */
export type Budget = { what: string; left: number; rowsAlone: number; ours: number }

/** Unlike rates, these hardly depend on how well the work of several processes overlaps. */
export function budgets(results: readonly Result[], cores: number): Budget[] {
  const [single, batch] = accepting(results, OURS)
  const budget = ({ what, bar }: Bar, measure: 'single' | 'batch', peers: readonly string[]): Budget => {
    const middle = (id: string, name: string): number => median(valuesOf(find(results, measure, id), name))
    const fastest = Math.max(...known(peers.map((id) => middle(id, 'perSecond'))))
    return {
      what,
      left: (cores * 1e6) / (bar * fastest),
      rowsAlone: middle(LIMITS[measure], 'cpuMicrosPerJob'),
      ours: middle(OURS[measure], 'cpuMicrosPerJob'),
    }
  }
  return [budget(single, 'single', ['bullmq']), budget(batch, 'batch', PEERS)].filter(
    ({ left, rowsAlone }) => left > 0 && Number.isFinite(rowsAlone),
  )
}

/** Who is compared with the others, by measure. */
type Compared = { single: string; batch: string; latency: string }

const OURS: Compared = { single: 'eventcenter', batch: 'eventcenter', latency: 'eventcenter' }
const LIMITS: Compared = { single: 'rows-alone-25', batch: 'rows-alone-100', latency: 'insert-alone' }

function accepting(results: readonly Result[], compared: Compared): [Bar, Bar, Bar] {
  const { rate, slowness, againstBest } = comparisons(results)
  const slowest = Math.max(...known(PEERS.map((id) => slowness('latency', id, compared.latency))))
  return [
    times('single enqueue / BullMQ without fsync', rate('single', 'bullmq', compared.single), 1.6),
    times('batch enqueue / the best', againstBest('batch', compared.batch), 1.1),
    atMost('accept to send, p50 / the best', slowest, 1, '×'),
  ]
}

function comparisons(results: readonly Result[]) {
  const against =
    (name: string) =>
    (measure: Result['measure'], peer: string, ours = 'eventcenter'): number =>
      ratio(find(results, measure, ours), find(results, measure, peer), name)
  const rate = against('perSecond')
  return {
    rate,
    slowness: against('p50Ms'),
    againstBest: (measure: Result['measure'], ours?: string): number =>
      Math.min(...known(PEERS.map((id) => rate(measure, id, ours)))),
  }
}

const known = (values: number[]): number[] => values.filter((value) => !Number.isNaN(value))

const times = (what: string, value: number, bar: number): Bar => ({ what, value, bar, isAtLeast: true, unit: '×' })

const atMost = (what: string, value: number, bar: number, unit: string): Bar => ({
  what,
  value,
  bar,
  isAtLeast: false,
  unit,
})
