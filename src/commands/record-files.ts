import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { AppError } from '../core/errors.ts'
import { idOfUuid } from '../core/id.ts'
import type { AnsweredEvent } from '../store/check-records.ts'

/** What receivers took: deliveries by row id with their number of copies, and messages that name no delivery of ours. */
export type ReceiverLog = { copies: Map<string, number>; strangers: string[] }

/**
 * Reads what receivers wrote down: files, or folders of them, with one JSON object a line for each accepted message,
 * `{"job_id"}` or `{"message_id"}` of ours.
 */
export async function readReceiverLogs(places: readonly string[]): Promise<ReceiverLog> {
  const log: ReceiverLog = { copies: new Map(), strangers: [] }
  for await (const { job_id: jobId, message_id: messageId } of lines(places)) {
    const named = textOf(jobId) || textOf(messageId)
    const id = idOfUuid(UUID.exec(named)?.[0] ?? '')
    if (id === null) log.strangers.push(named)
    else log.copies.set(id, (log.copies.get(id) ?? 0) + 1)
  }
  return log
}

/** Reads what a sender of events wrote down: one line for each 202, `{"event_id", "company_id"?, "jobs_count"?}`. */
export async function readAcceptedLogs(places: readonly string[]): Promise<AnsweredEvent[]> {
  const events: AnsweredEvent[] = []
  for await (const { event_id: eventId, company_id: companyId, jobs_count: jobsCount } of lines(places)) {
    events.push({
      companyId: textOf(companyId),
      eventId: textOf(eventId),
      jobsCount: typeof jobsCount === 'number' ? jobsCount : null,
    })
  }
  return events
}

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

async function* lines(places: readonly string[]): AsyncGenerator<Record<string, unknown>> {
  for (const place of places) {
    for (const file of await filesOf(place)) {
      let number = 0
      for await (const line of createInterface(createReadStream(file, 'utf8'))) {
        number += 1
        if (line.trim() !== '') yield parse(line, `${file}:${number}`)
      }
    }
  }
}

async function filesOf(place: string): Promise<string[]> {
  const found = await stat(place).catch((cause: unknown) => {
    throw new AppError('invalid', `${place} cannot be read`, { cause })
  })
  if (!found.isDirectory()) return [place]
  const entries = await readdir(place, { withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(place, entry.name))
    .toSorted()
}

function parse(line: string, where: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line)
    if (value !== null && typeof value === 'object') return value as Record<string, unknown>
  } catch {
    // Told as below.
  }
  throw new AppError('invalid', `${where}: expected a JSON object`)
}
