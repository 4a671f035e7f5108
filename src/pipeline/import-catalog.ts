import { hash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { inLayout, parseTemplateFile, templateFileName } from '../core/catalog-file.ts'
import { AppError, type FieldError } from '../core/errors.ts'
import { eventTypeDefinition, typeName } from '../core/event-type-schema.ts'
import type { EventTypeDefinition } from '../core/event-type.ts'
import { canonicalJson } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'
import type { Ports } from '../ports.ts'
import { importedFiles, lockCatalog, noteImported } from '../store/catalog-file.ts'
import { putEventType } from '../store/event-type.ts'
import { putTemplate, type TemplateDraft } from '../store/template.ts'

/** Of the platform: a company has its own types and templates over the API. */
const COMPANY_ID = ''

/**
 * Imports event types and templates from folders of files, as platform-wide ones. A file is imported when it says
 * something else than at its last import, and then makes a new version. So an unchanged file never undoes what was edited
 * or deleted over the API since, a changed one does, and the edited version is kept in the history. A removed file
 * removes nothing. With any fault nothing is imported: throws `invalid` with all faults, by file.
 */
export async function importCatalog(
  ports: Pick<Ports, 'db' | 'renderer' | 'channels' | 'log'>,
  folders: readonly string[],
): Promise<void> {
  const { entries, faults } = await readCatalog(folders)
  const imported = await importedFiles(ports.db)
  const changed = entries.filter((entry) => imported.get(entry.name) !== hashOf(entry))
  faults.push(...(await Promise.all(changed.map((entry) => templateFaults(ports, entry)))).flat())
  if (faults.length > 0) throw faultyCatalog(faults)
  if (changed.length === 0) return

  const count = await ports.db.transaction(async (tx) => {
    await lockCatalog(tx)
    // Another process may have imported the same while this one waited.
    const known = await importedFiles(tx)
    const fresh = changed.filter((entry) => known.get(entry.name) !== hashOf(entry))
    for (const entry of fresh) await put(tx, entry)
    return fresh.length
  })
  if (count > 0) ports.log.info({ folders, count }, 'catalogue imported')
}

async function put(tx: Queryable, entry: CatalogEntry): Promise<void> {
  if ('eventType' in entry) await putEventType(tx, COMPANY_ID, entry.eventType)
  else await putTemplate(tx, COMPANY_ID, entry.template)
  await noteImported(tx, entry.name, hashOf(entry))
}

async function templateFaults(
  { renderer, channels }: Pick<Ports, 'renderer' | 'channels'>,
  entry: CatalogEntry,
): Promise<FieldError[]> {
  if (!('template' in entry)) return []
  const { channel, locale, subject, body } = entry.template
  // A channel that is not installed today may be tomorrow; its templates are checked when they are used.
  const format = channels.get(channel)?.bodyFormat
  if (!format) return []
  const faults = await renderer.faults({ subject: subject ?? '', body }, format, locale)
  return faults.map(({ field, message }) => ({ field: entry.file, message: `${field}, ${message}` }))
}

const hashOf = (entry: CatalogEntry): string =>
  hash('sha256', canonicalJson('eventType' in entry ? entry.eventType : entry.template))

const faultyCatalog = (faults: FieldError[]): AppError =>
  new AppError(
    'invalid',
    `The catalogue cannot be imported:\n${faults.map((fault) => `  ${fault.field}: ${fault.message}`).join('\n')}`,
    {
      fields: faults,
    },
  )

/** One thing that a catalogue defines; `file` is for messages. */
type CatalogEntry = { name: string; file: string } & ({ eventType: EventTypeDefinition } | { template: TemplateDraft })

/** Larger files are no event types and no templates. */
const MAX_FILE_BYTES = 200 * 1024

/**
 * Reads the folders of a catalogue. A later folder overrides what an earlier one defines, and may use its layouts.
 * Everything that is wrong is in `faults`, with the name of the file.
 */
async function readCatalog(folders: readonly string[]): Promise<{ entries: CatalogEntry[]; faults: FieldError[] }> {
  const faults: FieldError[] = []
  const entries = new Map<string, CatalogEntry>()
  const layouts = new Map<string, string>()

  for (const folder of folders) {
    const found = await attempt(folder, faults, () => readdir(folder, { withFileTypes: true }))
    for (const item of sorted(found ?? [])) {
      const file = path.join(folder, item.name)
      const channel = /^_layout\.([a-z][a-z\d_-]*)\.liquid$/.exec(item.name)?.[1]
      if (item.isFile() && channel !== undefined) {
        const text = await attempt(file, faults, () => readText(file))
        if (text !== null) layouts.set(channel, text)
      }
    }
    for (const item of sorted(found ?? [])) {
      if (!item.isDirectory() || item.name.startsWith('.')) continue
      for (const entry of await readType(path.join(folder, item.name), layouts, faults)) entries.set(entry.name, entry)
    }
  }
  return { entries: [...entries.values()], faults }
}

/** One folder: `event.json`, and the templates of its type. Without `event.json`, templates of the code it is named after. */
async function readType(
  folder: string,
  layouts: ReadonlyMap<string, string>,
  faults: FieldError[],
): Promise<CatalogEntry[]> {
  const names = (await attempt(folder, faults, () => readdir(folder))) ?? []
  const entries: CatalogEntry[] = []
  const folderName = path.basename(folder)
  let code = typeName.safeParse(folderName).success ? folderName : null
  if (code === null) faults.push({ field: folder, message: 'the name of the folder is no name of an event type' })

  if (names.includes('event.json')) {
    const file = path.join(folder, 'event.json')
    const eventType = await attempt(file, faults, async () =>
      definitionOf(await readText(file), folderName, file, faults),
    )
    if (eventType) entries.push({ name: `event-type ${eventType.type}`, file, eventType })
    code = eventType?.template_code ?? code
  }

  for (const name of names.toSorted()) {
    const file = path.join(folder, name)
    if (!name.endsWith('.liquid')) continue
    const parts = templateFileName(name)
    if (!parts) {
      faults.push({ field: file, message: 'expected a name such as email.ru.liquid or email.photo.ru.liquid' })
      continue
    }
    const { channel, service, locale } = parts
    const template = await attempt(file, faults, async () => {
      const text = parseTemplateFile(await readText(file))
      const layout = text.head.layout === 'none' ? undefined : layouts.get(channel)
      return {
        template_code: [code ?? folderName, ...(service === null ? [] : [service])].join('.'),
        channel,
        locale,
        subject: text.head.subject ?? null,
        body: layout === undefined ? text.body : inLayout(layout, text, locale),
      }
    })
    if (template) entries.push({ name: `template ${template.template_code} ${channel} ${locale}`, file, template })
  }
  return entries
}

function definitionOf(text: string, type: string, file: string, faults: FieldError[]): EventTypeDefinition | null {
  const { data, error } = eventTypeDefinition.safeParse(JSON.parse(text))
  for (const issue of error?.issues ?? []) {
    faults.push({ field: file, message: [issue.path.join('.'), issue.message].filter(Boolean).join(': ') })
  }
  if (data && data.type !== type) {
    faults.push({ field: file, message: `type: must be "${type}", the name of its folder` })
    return null
  }
  return data ?? null
}

async function readText(file: string): Promise<string> {
  const { size } = await stat(file)
  if (size > MAX_FILE_BYTES) throw new Error(`is larger than ${MAX_FILE_BYTES / 1024} KB`)
  return readFile(file, 'utf8')
}

async function attempt<Result>(
  file: string,
  faults: FieldError[],
  work: () => Promise<Result>,
): Promise<Result | null> {
  try {
    return await work()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    faults.push({ field: file, message: code === 'ENOENT' ? 'is not there' : message })
    return null
  }
}

const sorted = <Item extends { name: string }>(items: readonly Item[]): Item[] =>
  items.toSorted((a, b) => (a.name < b.name ? -1 : 1))
