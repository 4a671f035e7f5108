import { bars, budgets, limits, passes, type Bar } from './bars.ts'
import type { Machine } from './machine.ts'
import { find, ratio, valuesOf, type Result } from './results.ts'
import type { Sizes } from './sizes.ts'
import { median } from './statistics.ts'
import { MEASURES, type Measure } from './systems/all.ts'

export type Run = {
  results: readonly Result[]
  machine: Machine
  versions: Readonly<Record<string, string>>
  postgresSettings: Readonly<Record<string, string>>
  command: string
  date: string
  sizes: Sizes
  rounds: number
  /** Before each measure of each round. */
  others: readonly { busyPercent: number; load: number }[]
  failures: readonly string[]
}

/** Above this share of the processors, the work of others is worth a warning. */
const QUIET_PERCENT = 5

const TITLES: Record<Measure, (sizes: Sizes) => string> = {
  single: ({ singles, callers }) => `Single enqueue: ${count(singles)} by ${callers} callers`,
  batch: ({ batched, batchSize }) => `Batch enqueue: ${count(batched)} in batches of ${batchSize}`,
  process: ({ processed }) => `Processing: ${count(processed)} jobs, a handler that does nothing, about 50 at a time`,
  latency: ({ samples }) => `Enqueue to handler start in one process, idle: ${samples} jobs, one at a time`,
  'wake-up': ({ samples }) => `Enqueue to handler start in another process, idle: ${samples} jobs, one at a time`,
  pinned: ({ pinned, pinnedRest }) =>
    `Processing while a transaction pins vacuum: ${count(pinned)} of ${count(pinned + pinnedRest)} jobs, in fifths`,
  http: ({ connections, httpSeconds }) => `Accepted over HTTP: ${connections} connections, ${httpSeconds} s`,
  pipeline: ({ pipelined }) =>
    `The whole way over HTTP: ${count(pipelined)} events accepted, planned, rendered, sent, recorded`,
}

/** Column heads by the names of numbers, in the order of the tables. */
const COLUMNS: Record<string, string> = {
  perSecond: 'a second',
  acceptedPerSecond: 'accepted a second',
  p50Ms: 'p50, ms',
  p99Ms: 'p99, ms',
  slice1PerSecond: '1st fifth',
  slice2PerSecond: '2nd',
  slice3PerSecond: '3rd',
  slice4PerSecond: '4th',
  slice5PerSecond: '5th',
  keptPercent: 'kept, %',
  cpuMicrosPerJob: 'processors, µs a job',
  walBytesPerJob: 'WAL, B a job',
  loopP99Ms: 'loop p99, ms',
  loopMaxMs: 'loop max, ms',
}

/** The results as a Markdown page. */
export function report(run: Run): string {
  const measures = MEASURES.filter((measure) => run.results.some((result) => result.measure === measure))
  return [
    '# Results of the bench',
    introduction(run),
    '## What was to be reached',
    barTable(bars(run.results)),
    ...limitSection(run),
    ...measures.flatMap((measure) => [`## ${TITLES[measure](run.sizes)}`, measureTable(measure, run.results)]),
    '## How to read this',
    notes(run),
    '',
  ].join('\n\n')
}

/** The bars alone, for the terminal. */
export const summary = (results: readonly Result[]): string =>
  bars(results)
    .map(
      (bar) =>
        `${passes(bar) ? 'passes     ' : 'FALLS SHORT'}  ${bar.what}: ${number(bar.value)}${bar.unit}, wanted ${wanted(bar)}`,
    )
    .join('\n')

function introduction({ machine, versions, command, date, others, postgresSettings }: Run): string {
  const busy = others.map(({ busyPercent }) => busyPercent)
  const firstLoad = others[0]?.load.toFixed(2) ?? '?'
  return [
    `- Command: \`${command}\``,
    `- Date: ${date}`,
    `- Machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}; one 8 KiB write and sync after another: ${count(machine.syncsPerSecond)} a second. Clients, servers and databases share it.`,
    `- Versions: ${Object.entries({ node: machine.node, ...versions })
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}`,
    `- PostgreSQL: its defaults (fsync and synchronous_commit on) but ${Object.entries(postgresSettings)
      .map(([name, value]) => `${name} = ${value}`)
      .join(', ')}`,
    `- Others: load average ${firstLoad} before the first round. In a second of rest before each measure, others kept the processors ${median(busy).toFixed(0)} % busy (median; at most ${Math.max(...busy).toFixed(0)} %).${median(busy) > QUIET_PERCENT ? ' **Other work ran on this machine: only comparisons within a round mean something, and not much.**' : ''}`,
  ].join('\n')
}

const LIMITS = `What is wanted was set on another machine. Here PostgreSQL and its driver alone, given the rows of EventCenter ready made, or
one small row, come to this against the same peers in the same rounds (the lines that begin with "limit" below):`

const BUDGETS = `A rate leaves each job so much time of all processors together, if they do nothing else and never wait. In microseconds:`

function limitSection({ results, machine }: Run): string[] {
  const rows = limits(results).map((bar) => [bar.what, `${number(bar.value)}${bar.unit}`, wanted(bar)])
  if (rows.length === 0) return []
  const spent = budgets(results, machine.cores).map(({ what, left, rowsAlone, ours }) => [
    what,
    ...[left, rowsAlone, ours].map(number),
  ])
  const head = ['', 'what is wanted leaves', 'its rows alone take', 'EventCenter takes']
  return [
    '## What the machine allows',
    LIMITS,
    table(['', 'the limit', 'wanted'], rows),
    ...(spent.length === 0 ? [] : [BUDGETS, table(head, spent)]),
  ]
}

const wanted = ({ bar, isAtLeast, unit }: Bar): string => `${isAtLeast ? '≥' : '≤'} ${bar}${unit}`

const barTable = (list: Bar[]): string =>
  table(
    ['', 'measured', 'wanted', ''],
    list.map((bar) => [
      bar.what,
      `${number(bar.value)}${bar.unit}`,
      wanted(bar),
      passes(bar) ? 'reached' : '**falls short**',
    ]),
  )

function measureTable(measure: Measure, results: readonly Result[]): string {
  const rows = results.filter((result) => result.measure === measure)
  const columns = Object.keys(COLUMNS).filter((name) => rows.some((row) => valuesOf(row, name).length > 0))
  const main = columns.includes('perSecond') ? 'perSecond' : columns.includes('p50Ms') ? 'p50Ms' : undefined
  const ours = find(results, measure, 'eventcenter')
  const compares = main !== undefined && rows.length > 1

  return table(
    ['', ...columns.map((name) => COLUMNS[name] ?? name), ...(compares ? ['EventCenter / this'] : [])],
    rows.map((row) => [
      row.contestant.label,
      ...columns.map((name) => spread(valuesOf(row, name))),
      ...(compares ? [row === ours ? '' : `${number(ratio(ours, row, main))}×`] : []),
    ]),
  )
}

function notes({ results, failures, rounds }: Run): string {
  const contestants = [...new Set(results.map(({ contestant }) => contestant))]
  return [
    `- Values are the median of ${rounds} round${rounds === 1 ? '' : 's'}, [least–most]. In each round every measure runs once for every system, one after the other; ratios are made within a round, and their median is shown.`,
    '- Each measure of each system runs in a process of its own, on a fresh database (same server) or an emptied Redis, after a warm-up that does not count.',
    '- WAL is what PostgreSQL wrote to its log; "processors" is the work of all of them together, clients and databases included; "loop" is how long the event loop of the measured process was kept from turning.',
    '- Single enqueues of EventCenter that come at the same time may share a commit; each caller is answered after the commit that holds its own event. The libraries have no such call: one call is one statement.',
    '- Processing is measured from the first start of a handler to the record of the last outcome.',
    ...contestants.map(({ label, note }) => `- ${label}: ${note}.`),
    ...failures.map((failure) => `- **Failed:** ${failure}`),
  ].join('\n')
}

function table(head: string[], rows: string[][]): string {
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

const line = (cells: string[]): string => `| ${cells.join(' | ')} |`

function spread(values: number[]): string {
  if (values.length === 0) return '–'
  if (values.length === 1) return number(values[0] ?? NaN)
  return `${number(median(values))} [${number(Math.min(...values))}–${number(Math.max(...values))}]`
}

/** Three digits that mean something. */
function number(value: number): string {
  if (Math.abs(value) >= 100) return count(Math.round(value))
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

const count = (value: number): string => value.toLocaleString('en-US')
