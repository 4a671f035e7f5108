import { performance } from 'node:perf_hooks'
import type { Channel, Message, RenderedText } from '../channels/channel.ts'
import { DeliveryError } from '../core/errors.ts'
import { idOfUuid, uuidOf } from '../core/id.ts'
import type { Notification } from '../core/notification.ts'
import { notificationFor } from '../core/plan.ts'
import { localeChain } from '../core/template-lookup.ts'
import { templateVariables } from '../core/template-variables.ts'
import { within } from '../core/within.ts'
import type { Queryable } from '../db/db.ts'
import { unknownUser, type Address, type User } from '../directory/directory.ts'
import type { Ports } from '../ports.ts'
import type { Hands } from '../queue/claim-loop.ts'
import { resultOfFailure } from '../queue/outcome.ts'
import type { Claim, ClaimedDelivery, Result } from '../queue/queue.ts'
import { recorder, type Recorder } from '../queue/recorder.ts'
import { withdrawnBy } from '../store/event-status.ts'
import { sharedReads } from '../store/shared-reads.ts'
import { historyNotes, placed, placeInInbox, type ShownNotification } from '../store/show-notification.ts'
import { textSource } from '../store/text-source.ts'

type DeliverPorts = Pick<
  Ports,
  'db' | 'queue' | 'directory' | 'channels' | 'eventTypes' | 'renderer' | 'metrics' | 'log'
>

export type DeliverOptions = {
  defaultLocale: string
  /** Where users reach this server; templates get it as `links.inbox`. */
  publicUrl: () => string
  leaseSeconds: number
  /** One send that takes longer is given up; what it may have done is uncertain. */
  sendTimeoutSeconds: number
  /** Before a message that may have arrived is sent once more, where its channel says so. */
  uncertainResendSeconds: number
  /** What may end this process is sent by itself, so that nothing beside it comes under suspicion: `oneAtATime`. */
  alone: <Result>(work: () => Promise<Result>) => Promise<Result>
  /** Hears of each delivery that took a place among what may be sent, and came to nothing. */
  onUnsent?: () => void
}

/** What the deliveries of one claim ask and write, they ask and write together. */
type ClaimPorts = DeliverPorts & { reads: Queryable; note: (shown: ShownNotification) => Promise<undefined> }

/** A message ready for its address; `templateId` is the version it was rendered from. */
type Prepared = { address: Address; message: Message; templateId: string | null; note: () => Promise<undefined> }

/** A verdict reached before anything was sent. */
type Decided = { result: Result }

/**
 * Sends what a claim holds and records what became of each delivery, under the claim's lease. Never throws for one
 * delivery's sake: a failure is that delivery's result. `signal` stops what has not begun; the rest goes back.
 */
export async function deliver(
  ports: DeliverPorts,
  options: DeliverOptions,
  claim: Claim,
  signal: AbortSignal,
  { onOver, next }: Hands = ALONE,
): Promise<void> {
  const shared = { ...ports, reads: sharedReads(ports.db), note: historyNotes(ports.db, claim.deliveries.length) }
  const { leaseId } = claim
  const record = recorder(ports.queue, claim, {
    leaseSeconds: options.leaseSeconds,
    onRenewalFailed: (error) => ports.log.warn({ leaseId, err: error }, 'lease not renewed'),
    next,
    signal,
  })
  try {
    // All of them are over before the lease is: ending it gives back what was not begun.
    const ends = await Promise.allSettled(
      claim.deliveries.map((delivery) => {
        const work = (): Promise<void> => deliverOne(shared, options, record, delivery, signal)
        return (delivery.is_suspect ? options.alone(work) : work()).finally(onOver)
      }),
    )
    for (const end of ends) {
      if (end.status === 'rejected') ports.log.error({ leaseId, err: end.reason }, 'delivery not recorded')
    }
  } finally {
    await record.end()
  }
}

/** Of a claim that no loop waits for. */
const ALONE: Hands = { onOver: () => {}, next: () => null }

async function deliverOne(
  ports: ClaimPorts,
  options: DeliverOptions,
  record: Recorder,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return
  const result = await attempt(ports, options, record, delivery, signal)
  if (result === null || UNSENT.has(result.state)) options.onUnsent?.()
  // Null: the lease is over, the delivery is somebody else's now.
  if (!result) return

  const fields = { deliveryId: delivery.id, channel: delivery.channel, outcome: result.state }
  const isRecorded = await record.finish(result)
  // The next of its thread is in the queue by now.
  if (delivery.is_ordered) ports.queue.wake(LANES_OF_TURNS.map((lane) => ({ channel: delivery.channel, lane })))
  if (!isRecorded) {
    ports.log.warn(fields, 'result not recorded: the lease is over, or the answer to an earlier try was lost')
    return
  }
  ports.metrics.deliveries.inc({ channel: delivery.channel, outcome: result.state })
  const reason = 'reason' in result ? { reason: result.reason } : {}
  // What went well is in the books and the metrics; a line for each would drown the others.
  const level = result.state === 'sent' ? 'debug' : 'info'
  ports.log[level]({ ...fields, attempt: delivery.attempt + 1, ...reason }, 'delivery finished')
}

/** Those of first attempts. */
const LANES_OF_TURNS = ['p2p', 'broadcast'] as const

async function attempt(
  ports: ClaimPorts,
  options: DeliverOptions,
  record: Recorder,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<Result | null> {
  const channel = ports.channels.get(delivery.channel)
  // Only what has a channel here is claimed.
  if (!channel) throw new Error(`there is no channel ${delivery.channel} here`)
  if (delivery.is_cancelled) return { id: delivery.id, state: 'cancelled' }
  if (delivery.is_superseded) return superseded(delivery)
  if (delivery.is_expired) return { id: delivery.id, state: 'expired' }

  // Preparing may end the process as well.
  if (delivery.is_suspect && !(await record.start(delivery.id))) return refusal(ports, record, delivery)
  const prepared = await prepare(ports, options, delivery, channel).catch((error: unknown): Decided => ({
    result: resultOfFailure(channel, delivery, { error, hadBegun: false }, chances(options)),
  }))
  if ('result' in prepared) return prepared.result

  // What may safely be repeated needs no note that it was begun.
  const isNoted = delivery.is_suspect || channel.isIdempotent
  if (!isNoted && !(await record.start(delivery.id))) return refusal(ports, record, delivery)
  const unnoted = await prepared
    .note()
    .catch((error: unknown) => resultOfFailure(channel, delivery, { error, hadBegun: false }, chances(options)))
  if (unnoted) return unnoted
  return send(ports, options, delivery, channel, prepared, signal)
}

/** Why a delivery may not be sent: its event was cancelled or superseded, or, null, the lease is over. */
async function refusal({ db }: DeliverPorts, record: Recorder, delivery: ClaimedDelivery): Promise<Result | null> {
  if (!(await record.renew())) return null
  const isSuperseded = (await withdrawnBy(db, delivery.id)) === 'superseded'
  return isSuperseded ? superseded(delivery) : { id: delivery.id, state: 'cancelled' }
}

async function send(
  ports: ClaimPorts,
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  channel: Channel,
  { address, message, templateId }: Prepared,
  signal: AbortSignal,
): Promise<Result> {
  const startedMs = performance.now()
  const template = templateId === null ? {} : { templateId }
  try {
    const receipt = await within(options.sendTimeoutSeconds, signal, (deadline) =>
      channel.send(address, message, deadline),
    )
    return { id: delivery.id, state: 'sent', ...template, ...receipt }
  } catch (error) {
    if (error instanceof DeliveryError && error.verdict === 'forget-address') {
      // What the other side said is a fact, whether or not the directory can be told now.
      await ports.directory.forget(address, error.message, delivery.id).catch((err: unknown) => {
        ports.log.error({ err, deliveryId: delivery.id }, 'address not forgotten')
      })
    }
    return { ...resultOfFailure(channel, delivery, { error, hadBegun: true }, chances(options)), ...template }
  } finally {
    ports.metrics.sendSeconds.observe({ channel: channel.name }, (performance.now() - startedMs) / 1000)
  }
}

const UNSENT = new Set<Result['state']>(['expired', 'cancelled', 'skipped', 'postponed'])

/** A later event of its collapse key has taken its place. */
const superseded = ({ id }: ClaimedDelivery): Result => ({ id, state: 'skipped', reason: 'superseded' })

const chances = ({ uncertainResendSeconds }: DeliverOptions) => ({
  uncertainResendSeconds,
  random: Math.random(),
  nowMs: Date.now(),
})

async function prepare(
  ports: ClaimPorts,
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  channel: Channel,
): Promise<Prepared | Decided> {
  const { company_id: companyId, user_id: userId, event } = delivery
  // A channel that finds people by their id alone needs nothing from the directory but their language.
  const isKnownEnough = channel.isInbox && event.title !== undefined
  const user = (isKnownEnough ? null : await ports.directory.find(companyId, userId)) ?? unknownUser(companyId, userId)
  const address = channel.address(user)
  if (!address) return { result: { id: delivery.id, state: 'skipped', reason: 'no_address' } }
  if (address.state !== 'active') {
    return { result: { id: delivery.id, state: 'skipped', reason: `address_${address.state}` } }
  }

  const { text, locale, templateId } = await textFor(ports, options, delivery, channel, user)
  const shown = await show(ports, delivery, channel, text)
  if (!shown) return { result: superseded(delivery) }
  const { notification, note } = shown
  const message: Message = {
    jobId: uuidOf(delivery.id),
    companyId,
    event,
    notification,
    // A row that is older than the event was there before it: the event replaced what it showed.
    isUpdate: channel.isInbox && BigInt(idOfUuid(notification.id) ?? 0) < BigInt(delivery.event_row_id),
    locale,
    text,
    lane: delivery.lane,
  }
  return { address, message, templateId, note }
}

/**
 * The notification as the person sees it: in the inbox, if this channel is the inbox; else in the history, once `note` has
 * been called. Null when a later event has taken its place in the inbox.
 */
async function show(
  ports: ClaimPorts,
  delivery: ClaimedDelivery,
  channel: Channel,
  text: RenderedText,
): Promise<{ notification: Notification; note: () => Promise<undefined> } | null> {
  const { event, place } = delivery
  const type = await ports.eventTypes.version(delivery.event_type_id)
  if (!type) throw new Error(`event type ${delivery.event_type_id} is gone`)
  const shown = {
    ...notificationFor(delivery.user_id, event, type),
    title: text.subject,
    // The body of a mail is a page; the inbox and the history keep words.
    body: text.format === 'text' ? text.body : (event.body ?? ''),
    id: delivery.notification_id,
    event_row_id: delivery.event_row_id,
    event_id: event.id ?? uuidOf(delivery.event_row_id),
    company_id: delivery.company_id,
  }
  if (channel.isInbox) {
    const notification = place ? placed(shown, place) : await placeInInbox(ports.db, shown)
    return notification && { notification, note: async () => undefined }
  }

  const names = event.channels ?? type.channels
  // What is in the inbox as well is written by the inbox, so that it is there once.
  const isInInbox = names.some((name) => ports.channels.get(name)?.isInbox)
  return {
    notification: placed(shown, { id: shown.id, seq: null, shown_at: new Date().toISOString() }),
    note: async () => (isInInbox ? undefined : ports.note(shown)),
  }
}

async function textFor(
  ports: ClaimPorts,
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  channel: Channel,
  user: User,
): Promise<{ text: RenderedText; locale: string; templateId: string | null }> {
  const { event } = delivery
  const locales = localeChain(user.locale, options.defaultLocale)
  const type = await ports.eventTypes.version(delivery.event_type_id)
  const found = await textSource(ports.reads, {
    companyId: delivery.company_id,
    event,
    type,
    channel,
    locales,
    pinnedTemplateId: delivery.pinned_template_id,
  })
  if ('missing' in found) throw new DeliveryError('reject', found.missing)
  if ('own' in found) return { text: found.own, locale: locales[0] ?? options.defaultLocale, templateId: null }

  const { template } = found
  const source = { subject: template.subject ?? event.title ?? '', body: template.body }
  const rendered = await ports.renderer.render(
    source,
    channel.bodyFormat,
    templateVariables(delivery, type, user, template.locale, options.publicUrl()),
    template.locale,
  )
  return { text: { ...rendered, format: channel.bodyFormat }, locale: template.locale, templateId: template.id }
}
