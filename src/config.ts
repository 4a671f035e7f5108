import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { all as channelDefinitions } from './channels/all.ts'
import type { ChannelDefinition } from './channels/channel.ts'
import { nearMiss } from './core/near-miss.ts'
import { isLoopback } from './core/setting-parsers.ts'
import type { Setting } from './core/setting.ts'
import { crossFaults, type CoreValues, type Fault, type Source } from './settings-rules.ts'
import { coreSettings, embeddedDirectory, LATER_SETTINGS } from './settings.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** All settings, parsed and checked against each other, under the names of their variables. */
export type Config = Omit<CoreValues, 'DEMO' | 'CATALOG'> & {
  DEMO: boolean
  CATALOG: string[]
  /** The settings of each channel, by the channel's name. */
  channels: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Where each value came from, by the name of its variable. */
  sources: Readonly<Record<string, Source>>
  /** The texts of those values that are no secret, as they were set. */
  texts: Readonly<Record<string, string>>
}

/** The environment is wrong. Its message lists every fault at once, and never a value. */
export class ConfigError extends Error {
  readonly faults: readonly Fault[]

  constructor(faults: readonly Fault[]) {
    const lines = faults.map(({ name, message }) => `  ${name}: ${message}`)
    super([`The settings have ${faults.length} fault${faults.length === 1 ? '' : 's'}:`, ...lines].join('\n'))
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** The settings of this process. Throws `ConfigError`. */
export const configOfProcess = (overrides: Environment = {}): Config =>
  readConfig({ ...process.env, ...overrides }, readTextFile)

/** The language of the terminal, for texts that a person reads there. */
export const terminalLanguage = ({ LC_ALL, LC_MESSAGES, LANG }: Environment = process.env): 'en' | 'ru' =>
  (LC_ALL || LC_MESSAGES || LANG || '').toLowerCase().startsWith('ru') ? 'ru' : 'en'

/**
 * Reads all settings from environment variables: each as NAME, or as NAME_FILE with the name of a file that holds the
 * value. An empty variable counts as not set. Throws one `ConfigError` with all faults.
 */
export function readConfig(
  environment: Environment,
  readFile: (file: string) => string,
  channels: readonly ChannelDefinition[] = channelDefinitions,
): Config {
  const table = settingsTable(channels)
  const faults: Fault[] = []
  const values: Record<string, unknown> = {}
  const sources: Record<string, Source> = {}
  const texts: Record<string, string> = {}

  for (const [name, setting] of Object.entries(table)) {
    try {
      const { text, source } = textOf(name, environment, readFile)
      sources[name] = source
      if (text !== undefined && !setting.secret) texts[name] = text
      values[name] = setting.parse(text ?? setting.default)
    } catch (error) {
      faults.push({ name, message: messageOf(error) })
    }
  }
  faults.push(...foreignFaults(environment, Object.keys(table)), ...crossFaults(values, sources))
  faults.push(...channels.flatMap((channel) => channel.faults?.(values) ?? []))
  if (faults.length > 0) throw new ConfigError(faults)
  return { ...settle(values as CoreValues, sources, channels), sources, texts }
}

/** All settings by name: EventCenter's own, then those of its channels. */
export function settingsTable(
  channels: readonly ChannelDefinition[] = channelDefinitions,
): Readonly<Record<string, Setting>> {
  const table: Record<string, Setting> = { ...coreSettings }
  for (const [name, setting] of channels.flatMap(({ settings }) => Object.entries(settings))) {
    if (table[name] && table[name] !== setting) throw new Error(`Two settings have the name ${name}`)
    table[name] = setting
  }
  return table
}

function textOf(
  name: string,
  environment: Environment,
  readFile: (file: string) => string,
): { text: string | undefined; source: Source } {
  const text = environment[name]
  const file = environment[`${name}_FILE`]
  if (text && file) throw new Error(`set either ${name} or ${name}_FILE, not both`)
  if (text) return { text, source: 'environment' }
  if (!file) return { text: undefined, source: 'default' }
  try {
    // Editors and `echo` end files with a line break that is no part of the value.
    return { text: readFile(file).replace(/\r?\n$/, '') || undefined, source: 'file' }
  } catch (cause) {
    throw new Error(`the file named by ${name}_FILE cannot be read (${codeOf(cause)})`, { cause })
  }
}

/** Variables that are none of ours but were surely meant to be. */
function foreignFaults(environment: Environment, known: readonly string[]): Fault[] {
  const names = Object.keys(environment).filter((name) => environment[name])
  const ours = new Set([...known, ...known.map((name) => `${name}_FILE`)])
  const later = names.filter((name) => LATER_SETTINGS.some((it) => it === name || `${it}_FILE` === name))
  return [
    ...later.map((name) => ({ name, message: 'not supported yet by this version' })),
    ...names
      .filter((name) => !ours.has(name) && !later.includes(name))
      .flatMap((name) => {
        const meant = nearMiss(name.replace(/_FILE$/, ''), [...known, ...LATER_SETTINGS])
        return meant ? [{ name, message: `unknown; did you mean ${meant}?` }] : []
      }),
  ]
}

/** Fills in what follows from other settings. */
function settle(
  values: CoreValues,
  sources: Readonly<Record<string, Source>>,
  channels: readonly ChannelDefinition[],
): Omit<Config, 'sources' | 'texts'> {
  const isFolderOnly = sources['DATABASE_URL'] === 'default' && sources['DATA_DIR'] !== 'default'
  const DATABASE_URL = isFolderOnly ? `embedded:${values.DATA_DIR}` : values.DATABASE_URL
  const folder = embeddedDirectory(DATABASE_URL)
  const isDemoSafe = folder !== null && isLoopback(values.HOST) && values.JWKS_URL === undefined
  const all: Record<string, unknown> = values
  return {
    ...pick(values, Object.keys(coreSettings)),
    DATABASE_URL,
    DATA_DIR: path.resolve(folder ?? values.DATA_DIR),
    DEMO: values.DEMO === 'auto' ? isDemoSafe : values.DEMO === 'true',
    CATALOG: (values.CATALOG ?? [BUILT_IN_CATALOG]).map((folder) => path.resolve(folder)),
    channels: Object.fromEntries(channels.map(({ name, settings }) => [name, pick(all, Object.keys(settings))])),
  }
}

const BUILT_IN_CATALOG = fileURLToPath(new URL('../catalog', import.meta.url))

const pick = <Values extends Record<string, unknown>>(values: Values, names: readonly string[]): Values =>
  Object.fromEntries(names.map((name) => [name, values[name]])) as Values

const readTextFile = (file: string): string => readFileSync(file, 'utf8')

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : 'is not valid')

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unreadable'
