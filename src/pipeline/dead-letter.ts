import { AppError, invalidFields } from '../core/errors.ts'
import { idOfUuid } from '../core/id.ts'
import type { JsonObject } from '../core/json.ts'
import { payloadFaults } from '../core/payload-schema.ts'
import type { Ports } from '../ports.ts'
import { findDeadLetter, type DeadLetterInputs } from '../store/dead-letters.ts'
import { discardLetter, requeueLetters, settleLetter, type TemplateChoice } from '../store/requeue.ts'

export type LetterPorts = Pick<Ports, 'db' | 'queue' | 'eventTypes' | 'log'>

/** Who decides: the company and, for the log, the key. */
export type Decider = { companyId: string; keyId: string }

/**
 * Sends one failed delivery again, as it was made or with some of its data changed for it alone.
 *
 * Errors: `not-found`, `conflict` (uncertain: settle it; expired; its event was cancelled), `invalid` (the data, as
 * changed, is not what the event's type says).
 */
export async function retryLetter(
  ports: LetterPorts,
  { companyId, keyId }: Decider,
  jobId: string,
  { data, template }: { data?: JsonObject | undefined; template: TemplateChoice },
): Promise<void> {
  const letter = await letterOf(ports, companyId, jobId)
  if (letter.kind === 'uncertain') {
    throw new AppError('conflict', 'It may have arrived: settle it, as sent, as failed, or by sending it again')
  }
  if (data !== undefined) await checkData(ports, letter, data)
  await requeue(ports, companyId, letter, template, data)
  ports.log.info({ deliveryId: letter.id, keyId, edited: data !== undefined, template }, 'dead letter sent again')
}

/**
 * Ends the doubt about an uncertain delivery: it arrived, it did not, or it is sent once more whatever became of it.
 *
 * Errors: `not-found`, `conflict` (not uncertain; `resend`: expired or cancelled).
 */
export async function settleUncertain(
  ports: LetterPorts,
  { companyId, keyId }: Decider,
  jobId: string,
  outcome: 'sent' | 'failed' | 'resend',
): Promise<void> {
  const letter = await letterOf(ports, companyId, jobId)
  if (letter.kind !== 'uncertain') throw new AppError('conflict', 'It is known to have failed: retry it, or discard it')

  if (outcome === 'resend') await requeue(ports, companyId, letter, 'same')
  else if (!(await settleLetter(ports.db, companyId, letter.id, outcome))) throw changedMeanwhile()
  ports.log.info({ deliveryId: letter.id, keyId, outcome }, 'uncertain delivery settled')
}

/** Takes a failed delivery off the list. Errors: `not-found`, `conflict` (uncertain: settle it). */
export async function discardFailed(ports: LetterPorts, { companyId, keyId }: Decider, jobId: string): Promise<void> {
  const letter = await letterOf(ports, companyId, jobId)
  if (letter.kind === 'uncertain') throw new AppError('conflict', 'It may have arrived: settle it as sent or as failed')
  if (!(await discardLetter(ports.db, companyId, letter.id))) throw changedMeanwhile()
  ports.log.info({ deliveryId: letter.id, keyId }, 'dead letter discarded')
}

/** The dead letter with this public id. Throws `not-found`. */
export async function letterOf({ db }: Pick<Ports, 'db'>, companyId: string, jobId: string): Promise<DeadLetterInputs> {
  const id = idOfUuid(jobId)
  const letter = id === null ? null : await findDeadLetter(db, companyId, id)
  if (!letter) throw new AppError('not-found', 'There is no dead letter with this job_id')
  return letter
}

async function requeue(
  { db, queue }: LetterPorts,
  companyId: string,
  letter: DeadLetterInputs,
  template: TemplateChoice,
  data?: JsonObject,
): Promise<void> {
  if (letter.is_cancelled) throw new AppError('conflict', 'Its event was cancelled')
  if (letter.is_expired) throw new AppError('conflict', `It expired at ${letter.expires_at}: too late to be sent`)
  const what = { kind: letter.kind, template, ...(data !== undefined && { data }) }
  if ((await requeueLetters(db, companyId, [letter.id], what)).length === 0) throw changedMeanwhile()
  queue.wake()
}

async function checkData({ eventTypes }: LetterPorts, letter: DeadLetterInputs, data: JsonObject): Promise<void> {
  const type = await eventTypes.version(letter.event_type_id)
  if (!type?.schema) return
  const faults = payloadFaults(type.schema, { ...letter.event.data, ...letter.vars, ...data }, 'data')
  if (faults.length > 0) throw invalidFields(faults)
}

const changedMeanwhile = (): AppError =>
  new AppError('conflict', 'Somebody else dealt with it at this moment', { retryAfterSeconds: 1 })
