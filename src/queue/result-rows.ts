import { STATES } from '../core/delivery.ts'
import type { Result } from './queue.ts'

/** Results as the statement that records them takes them. */
export const resultRows = (results: readonly Result[]): string => JSON.stringify(results.map(toRow), keepable)

/** What other servers say may hold what the database cannot keep. */
const keepable = (_name: string, value: unknown): unknown =>
  typeof value === 'string' ? value.replaceAll('\0', '').toWellFormed() : value

/** The columns of a result; `verdict` present means a line in the attempts log, `kind` a dead letter. */
function toRow(result: Result): Record<string, unknown> {
  const common = { id: result.id, template_id: result.templateId }
  switch (result.state) {
    case 'sent':
      return { ...common, state: STATES.sent, is_attempt: true, provider_id: result.providerId }
    case 'expired':
    case 'cancelled':
      return { ...common, state: STATES[result.state], is_attempt: false }
    case 'skipped':
      return { ...common, state: STATES.skipped, is_attempt: false, reason: result.reason }
    case 'failed': {
      const { verdict, reason } = result
      return { ...common, state: STATES.failed, is_attempt: true, reason, verdict, kind: 'failed' }
    }
    case 'uncertain':
      return {
        ...common,
        state: STATES.uncertain,
        is_attempt: true,
        reason: result.reason,
        verdict: 'uncertain',
        kind: 'uncertain',
      }
    case 'postponed': {
      const { reason, afterSeconds } = result
      return { ...common, state: STATES.ready, is_attempt: false, reason, after_seconds: afterSeconds }
    }
    default: {
      const { verdict, reason, afterSeconds } = result
      return { ...common, state: STATES.ready, is_attempt: true, reason, verdict, after_seconds: afterSeconds }
    }
  }
}
