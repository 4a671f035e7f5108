import { STATES } from '../core/delivery.ts'
import { CHANGES, type Change } from '../core/delivery-life.ts'
import type { Verdict } from '../core/errors.ts'
import type { Result } from './queue.ts'

/** Results as the statement that records them takes them. */
export const resultRows = (results: readonly Result[]): string => JSON.stringify(results.map(toRow), keepable)

/** Their ids, ascending, as an array in the database's own form. */
export const idsOf = (results: readonly Result[]): string =>
  `{${results
    .map(({ id }) => id)
    .sort(byNumber)
    .join()}}`

/** Of decimal numbers. */
const byNumber = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : Number(a > b))

/** The same where all of them are `sent`, else null: by id their template ids and provider ids. */
export function sentColumns(results: readonly Result[]): [templates: string | null, providers: string | null] | null {
  const templates: Record<string, string> = {}
  const providers: Record<string, string> = {}
  let [hasTemplates, hasProviders] = [false, false]
  for (const result of results) {
    if (result.state !== 'sent') return null
    if (result.templateId !== undefined) {
      templates[result.id] = result.templateId
      hasTemplates = true
    }
    if (result.providerId !== undefined) {
      providers[result.id] = keepableText(result.providerId)
      hasProviders = true
    }
  }
  return [hasTemplates ? JSON.stringify(templates) : null, hasProviders ? JSON.stringify(providers) : null]
}

/** What other servers say may hold what the database cannot keep. */
const keepableText = (text: string): string => text.replaceAll('\0', '').toWellFormed()

const keepable = (_name: string, value: unknown): unknown => (typeof value === 'string' ? keepableText(value) : value)

/** The columns of a result; `verdict` present means a line in the attempts log, `kind` a dead letter. */
function toRow(result: Result): Record<string, unknown> {
  const { to, attempt }: Change = CHANGES[result.state]
  return {
    id: result.id,
    state: STATES[to.state],
    is_attempt: attempt !== undefined,
    kind: to.stage === 'letter' ? to.state : undefined,
    template_id: result.templateId,
    provider_id: 'providerId' in result ? result.providerId : undefined,
    reason: 'reason' in result ? result.reason : undefined,
    verdict: verdictOf(result),
    after_seconds: 'afterSeconds' in result ? result.afterSeconds : undefined,
  }
}

/** What the attempts log says of it; an attempt that was accepted has no line there. */
function verdictOf(result: Result): Verdict | undefined {
  if (result.state === 'uncertain') return 'uncertain'
  return 'verdict' in result ? result.verdict : undefined
}
