import { access } from 'node:fs/promises'
import path from 'node:path'
import { configOfProcess, settingsTable, type Config } from '../config.ts'
import { maskUrl } from '../core/mask.ts'
import type { Setting } from '../core/setting.ts'
import { embeddedDirectory } from '../settings.ts'
import { columns, print, visible } from './print.ts'

/** `eventcenter config`: what every setting is and where that comes from, without secrets. */
export async function configCommand(options: { markdown?: boolean }): Promise<void> {
  if (options.markdown) return print(configMarkdown().trimEnd())

  const config = configOfProcess()
  const values = valuesOf(config)
  const generated = (await hasSecrets(config)) ? GENERATED : []
  const rows = Object.entries(settingsTable()).map(([name, setting]) => {
    const isGenerated = config.sources[name] === 'default' && generated.includes(name) && values[name] === undefined
    const value = isGenerated ? '[set]' : shown(setting, values[name], config.texts[name])
    return [name, value, isGenerated ? 'generated' : (config.sources[name] ?? ''), setting.describe]
  })
  for (const line of columns([['NAME', 'VALUE', 'FROM', 'WHAT FOR'], ...rows])) print(line)
}

/** The page docs/configuration.md, whole. */
export function configMarkdown(): string {
  const rows = Object.entries(settingsTable()).map(([name, setting]) => {
    const value = setting.secret ? '' : (setting.default ?? '')
    return `| \`${name}\` | ${value === '' ? '' : `\`${cell(value)}\``} | ${cell(setting.describe)} |`
  })
  return `${INTRODUCTION}\n| Variable | Default | What for |\n| --- | --- | --- |\n${rows.join('\n')}\n`
}

const INTRODUCTION = `# Configuration

EventCenter is configured by environment variables and starts without any. This page is made by
\`eventcenter config --markdown\`; \`eventcenter config\` shows what is in force on your machine and where it comes from,
with secrets left out.

- Each variable can also be given as \`NAME_FILE\`: the name of a file that holds the value, as container platforms mount
  secrets. One line break at the end of the file is ignored. Giving both is a fault. An empty variable counts as not set.
- A value that is missing or malformed, a mistyped name (\`DATABSE_URL\`), and settings that contradict each other stop the
  start; all faults are listed at once, and none of the messages repeats a value.
- With an embedded database, what must be secret and was not set is generated on the first start into \`secrets.json\` in
  the data directory, and the first API key into \`api-key\` beside it. Back them up with the data: with new secrets, the
  tokens of users and the subscriptions of their browsers end.
- With a database server nothing is generated, as all processes must share it: set \`JWT_SECRET\` or \`JWKS_URL\`, and make an
  API key with \`eventcenter key create\`, or set \`API_KEYS\`.
- \`KAFKA_BROKERS\`, \`REDIS_URL\`, \`AUTH_URL\`, \`TELEGRAM_BOT_TOKEN\` and \`TELEGRAM_WEBHOOK_SECRET\` are reserved for later
  versions; this one refuses them.
`

/** What \`loadSecrets\` makes where nobody sets it. */
const GENERATED = ['JWT_SECRET', 'VAPID_PRIVATE_KEY', 'VAPID_PUBLIC_KEY']

async function hasSecrets({ DATABASE_URL, DATA_DIR }: Config): Promise<boolean> {
  if (embeddedDirectory(DATABASE_URL) === null) return false
  return access(path.join(DATA_DIR, 'secrets.json')).then(
    () => true,
    () => false,
  )
}

const valuesOf = (config: Config): Readonly<Record<string, unknown>> =>
  Object.assign({}, ...Object.values(config.channels), config) as Record<string, unknown>

function shown(setting: Setting, value: unknown, text: string | undefined): string {
  const isEmpty = value === undefined || value === null || (Array.isArray(value) && value.length === 0)
  if (isEmpty) return '-'
  if (setting.secret) return '[set]'
  // A channel may make any kind of value, and its text says it best.
  const parts = typeof value === 'object' && !Array.isArray(value) ? [text ?? '[set]'] : [value].flat()
  return visible(parts.map((part) => maskUrl(typeof part === 'string' ? part : JSON.stringify(part))).join(','))
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
