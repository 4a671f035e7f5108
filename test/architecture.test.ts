import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, suite, test } from 'vitest'
import { all } from '../src/channels/all.ts'

type Import = { from: string; to: string; isType: boolean }
type SourceFile = { name: string; text: string; imports: Import[] }

const ROOT = path.join(import.meta.dirname, '..')
/** Above this a file is named in the output; above the wall the test fails. */
const LONG_LINES = 200
const WALL_LINES = 300

const files = await sourceFiles('src')
const production = files.filter(({ name }) => !/\.(test|contract)\.ts$/.test(name))

/** What may import what. A place not listed here may be imported by nobody else. */
const LAYERS: { name: string; has: RegExp; mayImport: string[] }[] = [
  { name: 'core', has: /^src\/core\//, mayImport: ['core'] },
  {
    name: 'ports',
    has: /^src\/(ports|metrics|queue\/(queue|outcome|recorder|claim-loop)|accounts\/accounts|bus\/bus|channels\/channel|directory\/directory|render\/renderer|db\/(db|binary-array))\.ts$/,
    mayImport: ['core', 'ports'],
  },
  { name: 'store', has: /^src\/store\//, mayImport: ['core', 'ports', 'store'] },
  {
    name: 'adapters',
    has: /^src\/(queue|accounts|bus|channels|directory|render|db)\//,
    mayImport: ['core', 'ports', 'store', 'adapters'],
  },
  { name: 'steps', has: /^src\/pipeline\//, mayImport: ['core', 'ports', 'store'] },
  { name: 'edges', has: /^src\/(http|gateway)\//, mayImport: ['core', 'ports', 'store', 'steps', 'edges'] },
  {
    name: 'settings',
    has: /^src\/(config|settings|settings-rules|secrets|log)\.ts$/,
    mayImport: ['core', 'ports', 'adapters', 'settings'],
  },
  {
    name: 'top',
    has: /^src\/(main|compile-cache|app|web|process-number)\.ts$|^src\/commands\//,
    mayImport: ['core', 'ports', 'store', 'adapters', 'steps', 'edges', 'settings', 'top'],
  },
]

const layerOf = (name: string): string => LAYERS.find((layer) => layer.has.test(name))?.name ?? `nothing (${name})`
const isAdapter = (name: string): boolean => layerOf(name) === 'adapters' && name !== 'src/channels/all.ts'
const folderOf = (name: string): string => name.split('/')[1] ?? ''

suite('the architecture', () => {
  test('imports point one way: top, edges, steps, store, ports, core', () => {
    const wrong = production.flatMap(({ name, imports }) => {
      const allowed = LAYERS.find((layer) => layer.has.test(name))?.mayImport ?? []
      return imports.filter(({ to }) => !allowed.includes(layerOf(to))).map(({ to }) => `${name} → ${to}`)
    })

    expect(wrong).toEqual([])
  })

  test('adapters do not know each other, and steps meet in the queue', () => {
    const wrong = production.flatMap(({ name, imports }) =>
      imports
        .filter(({ to }) => {
          if (layerOf(name) === 'adapters') return layerOf(to) === 'adapters' && folderOf(to) !== folderOf(name)
          return layerOf(name) === 'steps' && layerOf(to) === 'steps'
        })
        .map(({ to }) => `${name} → ${to}`),
    )

    expect(wrong).toEqual([])
  })

  test('only the top names adapters', () => {
    const wrong = production.flatMap(({ name, imports }) =>
      imports
        .filter(({ to }) => isAdapter(to) && !['adapters', 'top'].includes(layerOf(name)))
        .map(({ to }) => `${name} → ${to}`),
    )

    expect(wrong).toEqual([])
  })

  test('no import leads back to where it started', () => {
    expect(cycles(production)).toEqual([])
  })

  test('only the configuration reads the environment', () => {
    const wrong = production.filter(({ name, text }) => name !== 'src/config.ts' && /process\.env\b/.test(text))

    expect(wrong.map(({ name }) => name)).toEqual([])
  })

  test('only the channels know the names of channels', () => {
    const names = all.map(({ name }) => name).join('|')
    const quoted = new RegExp(`(?<![\\w.-])(['"])(${names})\\1`)
    // The command line writes example requests, as any caller does; the log hides a field of people; JSON Schema has a
    // format of that name.
    const others = /^src\/(channels\/|commands\/|log\.ts|core\/payload-schema\.ts)/
    const wrong = production
      .filter(({ name }) => !others.test(name))
      .flatMap(({ name, text }) =>
        lines(text)
          .filter(({ line }) => quoted.test(line) && !/^import |^\s*(\*|\/\/|\/\*)/.test(line))
          .map(({ n }) => `${name}:${n}`),
      )

    expect(wrong).toEqual([])
  })

  test('SQL is in the store and in adapters of PostgreSQL', () => {
    const sql = /[`']\s*(with \w+ as|select .+ from|insert into|update \w+ set|delete from)\b/i
    const wrong = production.filter(
      ({ name, text }) => !/^src\/(store|queue|bus|directory|db)\//.test(name) && sql.test(text),
    )

    expect(wrong.map(({ name }) => name)).toEqual([])
  })

  test('names say what a file is', () => {
    const wrong = files.filter(({ name }) =>
      /(^|\/)(utils?|helpers?|common|types|services|lib|index|misc)(\/|\.ts$)/.test(name),
    )

    expect(wrong.map(({ name }) => name)).toEqual([])
  })

  test('files stay short enough to be read', () => {
    const long = production
      .map(({ name, text }) => ({ name, length: lines(text).length }))
      .filter(({ length }) => length > LONG_LINES)
      .toSorted((a, b) => b.length - a.length)
    if (long.length > 0) {
      process.stdout.write(`long files:\n${long.map(({ name, length }) => `  ${length} ${name}`).join('\n')}\n`)
    }

    expect(long.filter(({ length }) => length > WALL_LINES)).toEqual([])
  })
})

async function sourceFiles(folder: string): Promise<SourceFile[]> {
  const entries = await readdir(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
  return Promise.all(
    entries
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .map(async (entry) => {
        const file = path.join(entry.parentPath, entry.name)
        const text = await readFile(file, 'utf8')
        return { name: path.relative(ROOT, file), text, imports: importsOf(path.relative(ROOT, file), text) }
      }),
  )
}

function importsOf(from: string, text: string): Import[] {
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s+(type\s)?[^'"=]*?from\s+['"](\.[^'"]+)['"]|import\(?\s*['"](\.[^'"]+)['"]/g,
  )
  return [...found].map(([, type, fixed, dynamic]) => ({
    from,
    to: path.normalize(path.join(path.dirname(from), fixed ?? dynamic ?? '')),
    isType: type !== undefined,
  }))
}

/** Cycles of imports that exist when the program runs; types are gone by then. */
function cycles(all: readonly SourceFile[]): string[] {
  const imports = new Map(all.map(({ name, imports }) => [name, imports.filter((i) => !i.isType).map((i) => i.to)]))
  const found: string[] = []
  const done = new Set<string>()

  function visit(name: string, way: string[]): void {
    if (way.includes(name)) {
      found.push([...way.slice(way.indexOf(name)), name].join(' → '))
      return
    }
    if (done.has(name)) return
    for (const next of imports.get(name) ?? []) visit(next, [...way, name])
    done.add(name)
  }

  for (const name of imports.keys()) visit(name, [])
  return found
}

const lines = (text: string): { line: string; n: number }[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line, index) => ({ line, n: index + 1 }))
