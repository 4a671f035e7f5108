import { hash } from 'node:crypto'
import { AppError, type FieldError } from '../core/errors.ts'
import { canonicalJson } from '../core/json.ts'
import type { Queryable } from '../db/db.ts'
import type { Ports } from '../ports.ts'
import { importedFiles, lockCatalog, noteImported } from '../store/catalog-file.ts'
import { putEventType } from '../store/event-type.ts'
import { putTemplate } from '../store/template.ts'
import { readCatalog, type CatalogEntry } from './read-catalog.ts'

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
