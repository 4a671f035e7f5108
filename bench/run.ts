/**
 * Measures EventCenter and other job queues side by side: `npm run bench`. See docs/benchmarks.md.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { findBinaries, MissingPackages } from '../scripts/services/packages.ts'
import { startServices, stopServices } from '../scripts/services/start-services.ts'
import { openDatabases, type Databases } from './databases.ts'
import { machine, othersWork } from './machine.ts'
import { report, summary } from './report.ts'
import type { Result } from './results.ts'
import { runChild } from './run-child.ts'
import { FULL, QUICK } from './sizes.ts'
import { CONTESTANTS, MEASURES, type Measure } from './systems/all.ts'
import { installPeers, versionsOf } from './versions.ts'

const HELP = `npm run bench -- [options]

  --quick            small numbers, one round, nothing written: shows that everything runs, proves nothing
  --only LIST        measures: ${MEASURES.join(', ')}; or their letters: a to f, i, j
                     (g, WAL, and h, event loop, come with a, b and c)
  --systems LIST     ${CONTESTANTS.map(({ id }) => id).join(', ')}
  --rounds N         default 3, with --quick 1
  --jobs N           jobs of the processing measure, default 20000
  --output FILE      where the results go (default bench/RESULTS.md; with --quick nowhere)
`

/** The letters of docs/benchmarks.md. */
const LETTERS: Record<string, Measure[]> = {
  a: ['single'],
  b: ['batch'],
  c: ['process'],
  d: ['latency'],
  e: ['wake-up'],
  f: ['pinned'],
  g: ['batch', 'process'],
  h: ['single', 'batch', 'process'],
  i: ['http'],
  j: ['pipeline'],
}

/** The same for all who use the server; everything else, fsync above all, is as PostgreSQL comes. */
const POSTGRES_SETTINGS = {
  shared_buffers: '512MB',
  max_wal_size: '4GB',
  min_wal_size: '256MB',
  checkpoint_timeout: '30min',
  max_connections: '200',
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: MEASURES.join(',') },
    systems: { type: 'string', default: CONTESTANTS.map(({ id }) => id).join(',') },
    rounds: { type: 'string' },
    jobs: { type: 'string' },
    output: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
try {
  if (options.help) console.log(HELP)
  else await bench()
} catch (error) {
  if (!(error instanceof MissingPackages)) throw error
  console.error(error.message)
  process.exitCode = 1
}

async function bench(): Promise<void> {
  const measures = chosenMeasures(options.only)
  const contestants = chosenContestants(options.systems)
  const rounds = Number(options.rounds ?? (options.quick ? 1 : 3))
  const base = options.quick ? QUICK : FULL
  const sizes = { ...base, processed: Number(options.jobs ?? base.processed) }
  const output = options.output ?? (options.quick ? undefined : path.join(import.meta.dirname, 'RESULTS.md'))

  findBinaries() // says what is missing before anything is installed or measured
  installPeers()
  const directory = mkdtempSync(path.join(tmpdir(), 'eventcenter-bench-'))
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => (stopping ??= stopServices(directory, { remove: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stop().finally(() => process.exit(1)))
  }
  try {
    const urls = await startServices({
      directory,
      ports: { postgres: 0, redis: 0, redisFsync: 0 },
      postgresSettings: POSTGRES_SETTINGS,
    })
    const databases = await openDatabases(urls)
    await databases.wearIn()
    for (const contestant of contestants) await databases.prepare(contestant, sizes)

    const results: Result[] = measures.flatMap((measure) =>
      contestants
        .filter((contestant) => contestant.measures.includes(measure))
        .map((contestant) => ({ contestant, measure, rounds: [] })),
    )
    const others: Awaited<ReturnType<typeof othersWork>>[] = []
    const failures: string[] = []
    for (let round = 1; round <= rounds; round++) {
      for (const measure of measures) {
        others.push(await othersWork())
        const rows = results.filter((result) => result.measure === measure)
        for (const result of rows) await runOne(databases, result, `round ${round}`, failures)
      }
    }
    await databases.close()

    const page = report({
      results,
      machine: machine(directory),
      versions: await versionsOf(urls),
      postgresSettings: POSTGRES_SETTINGS,
      command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
      date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
      sizes,
      rounds,
      others,
      failures,
    })
    if (output === undefined) console.log(`\n${page}`)
    else {
      writeFileSync(output, page)
      execFileSync('oxfmt', [output]) // npm puts the project's programs into PATH
      console.log(`\nWritten to ${output}\n`)
    }
    console.log(summary(results))
    if (failures.length > 0) process.exitCode = 1
  } finally {
    await stop()
  }

  async function runOne(databases: Databases, result: Result, round: string, failures: string[]): Promise<void> {
    const { measure, contestant } = result
    const name = `${round}, ${measure}, ${contestant.label}`
    try {
      const numbers = await databases.withFresh(contestant, (url) => runChild({ measure, contestant, url, sizes }))
      result.rounds.push(numbers)
      const shown = Object.entries(numbers).map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`)
      console.log(`${name}: ${shown.join(', ')}`)
    } catch (error) {
      result.rounds.push(null)
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      console.error(`${name}: FAILED`, error)
    }
  }
}

function chosenMeasures(list: string): Measure[] {
  const chosen = new Set<Measure>()
  for (const name of list.split(',')) {
    const measures = LETTERS[name] ?? MEASURES.filter((measure) => measure === name)
    if (measures.length === 0) throw new Error(`--only: unknown ${name}`)
    for (const measure of measures) chosen.add(measure)
  }
  return MEASURES.filter((measure) => chosen.has(measure))
}

function chosenContestants(list: string): typeof CONTESTANTS {
  const ids = list.split(',')
  const unknown = ids.filter((id) => !CONTESTANTS.some((contestant) => contestant.id === id))
  if (unknown.length > 0) throw new Error(`--systems: unknown ${unknown.join(', ')}`)
  return CONTESTANTS.filter(({ id }) => ids.includes(id))
}
