import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, Message, RenderedText } from '../channels/channel.ts'
import { DeliveryError } from '../core/errors.ts'
import { uuidOf } from '../core/id.ts'
import { retryDelay } from '../core/retry.ts'
import { chooseTemplate, DEFAULT_CODE, localeChain, templateCodes } from '../core/template-lookup.ts'
import { templateVariables } from '../core/template-variables.ts'
import type { Address, User } from '../directory/directory.ts'
import type { Ports } from '../ports.ts'
import type { Claim, ClaimedDelivery, Result } from '../queue/queue.ts'
import { TemplateError } from '../render/renderer.ts'
import { showNotification } from '../store/show-notification.ts'
import { findTemplates } from '../store/template.ts'

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
}

/** A message ready for its address; `templateId` is the version it was rendered from. */
type Prepared = { channel: Channel; address: Address; message: Message; templateId: string | null }

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
): Promise<void> {
  const renewal = setInterval(() => void renew(ports, claim), (options.leaseSeconds * 1000) / 3)
  try {
    // All of them are over before the lease is: releasing it gives back what was not begun.
    const ends = await Promise.allSettled(
      claim.deliveries.map((delivery) => deliverOne(ports, options, claim.leaseId, delivery, signal)),
    )
    for (const end of ends) {
      if (end.status === 'rejected')
        ports.log.error({ leaseId: claim.leaseId, err: end.reason }, 'delivery not recorded')
    }
  } finally {
    clearInterval(renewal)
    await ports.queue.release(claim.leaseId)
  }
}

async function deliverOne(
  ports: DeliverPorts,
  options: DeliverOptions,
  leaseId: string,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return
  const result = await attempt(ports, options, leaseId, delivery, signal)
  // Null: the lease is over, the delivery is somebody else's now.
  if (!result) return

  const recorded = await record(ports, options, leaseId, result)
  const fields = { deliveryId: delivery.id, channel: delivery.channel, outcome: result.state }
  if (recorded.length === 0) {
    ports.log.warn(fields, 'result refused: the lease was taken over')
    return
  }
  ports.metrics.deliveries.inc({ channel: delivery.channel, outcome: result.state })
  const reason = 'reason' in result ? { reason: result.reason } : {}
  ports.log.info({ ...fields, attempt: delivery.attempt + 1, ...reason }, 'delivery finished')
}

/** A database that is away for a moment must not make a known outcome unknown: tries for as long as the lease lasts. */
async function record(
  ports: DeliverPorts,
  options: DeliverOptions,
  leaseId: string,
  result: Result,
): Promise<string[]> {
  const giveUpAt = Date.now() + options.leaseSeconds * 1000
  for (;;) {
    try {
      return await ports.queue.finish(leaseId, [result])
    } catch (error) {
      if (Date.now() > giveUpAt) throw error
      await sleep(RECORD_AGAIN_MS)
    }
  }
}

const RECORD_AGAIN_MS = 500

async function attempt(
  ports: DeliverPorts,
  options: DeliverOptions,
  leaseId: string,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<Result | null> {
  const channel = ports.channels.get(delivery.channel)
  if (!channel) return { id: delivery.id, state: 'skipped', reason: 'channel_not_installed' }
  if (delivery.is_expired) return { id: delivery.id, state: 'expired' }

  const prepared = await prepare(ports, options, delivery, channel).catch((error: unknown): Decided => {
    return { result: failure(channel, delivery, error, 'before') }
  })
  if ('result' in prepared) return prepared.result

  // What may safely be repeated needs no note that it was begun.
  if (!channel.isIdempotent) {
    const allowed = await ports.queue.start(leaseId, [delivery.id])
    if (allowed.length === 0) return cancelledOrLost(ports, leaseId, delivery)
  }
  return send(ports, options, delivery, prepared, signal)
}

/** Not allowed to start: the event was cancelled, or the lease is over. */
async function cancelledOrLost(
  ports: DeliverPorts,
  leaseId: string,
  delivery: ClaimedDelivery,
): Promise<Result | null> {
  return (await ports.queue.renew(leaseId)) ? { id: delivery.id, state: 'cancelled' } : null
}

async function send(
  ports: DeliverPorts,
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  { channel, address, message, templateId }: Prepared,
  signal: AbortSignal,
): Promise<Result> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(options.sendTimeoutSeconds * 1000)])
  const startedMs = performance.now()
  const template = templateId === null ? {} : { templateId }
  try {
    const receipt = await channel.send(address, message, deadline)
    return { id: delivery.id, state: 'sent', ...template, ...receipt }
  } catch (error) {
    if (error instanceof DeliveryError && error.verdict === 'forget-address') {
      await ports.directory.forget(address, error.message, delivery.id)
    }
    return { ...failure(channel, delivery, error, 'sending'), ...template }
  } finally {
    ports.metrics.sendSeconds.observe({ channel: channel.name }, (performance.now() - startedMs) / 1000)
  }
}

async function prepare(
  ports: DeliverPorts,
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  channel: Channel,
): Promise<Prepared | Decided> {
  const { company_id: companyId, user_id: userId, event } = delivery
  const user = (await ports.directory.find(companyId, userId)) ?? unknownUser(companyId, userId)
  const address = channel.address(user)
  if (!address) return { result: { id: delivery.id, state: 'skipped', reason: 'no_address' } }
  if (address.state !== 'active')
    return { result: { id: delivery.id, state: 'skipped', reason: `address_${address.state}` } }

  const { text, locale, templateId } = await textFor(ports, options, delivery, channel, user)
  const notification = await showNotification(ports.db, {
    id: delivery.notification_id,
    companyId,
    userId,
    title: text.subject,
    // The body of a mail is a page; the inbox and the history keep words.
    body: text.format === 'text' ? text.body : (event.body ?? ''),
  })
  if (!notification) return { result: { id: delivery.id, state: 'skipped', reason: 'notification_gone' } }

  const message: Message = {
    jobId: uuidOf(delivery.id),
    companyId,
    event,
    notification,
    // A row older than the event it shows was there before the event: it was replaced.
    isUpdate: BigInt(delivery.notification_id) < BigInt(delivery.event_row_id),
    locale,
    text,
  }
  return { channel, address, message, templateId }
}

async function textFor(
  ports: DeliverPorts,
  options: DeliverOptions,
  delivery: ClaimedDelivery,
  channel: Channel,
  user: User,
): Promise<{ text: RenderedText; locale: string; templateId: string | null }> {
  const { event } = delivery
  const locales = localeChain(user.locale, options.defaultLocale)
  const ownText =
    event.title === undefined ? null : { subject: event.title, body: event.body ?? '', format: 'text' as const }
  if (channel.prefersOwnText && ownText)
    return { text: ownText, locale: locales[0] ?? options.defaultLocale, templateId: null }

  const type = await ports.eventTypes.version(delivery.event_type_id)
  // The default template frames the event's own words, so it says nothing where there are none.
  const codes = templateCodes(type?.template_code ?? event.type, event).filter(
    (code) => code !== DEFAULT_CODE || ownText !== null,
  )
  const stored = await findTemplates(ports.db, delivery.company_id, codes, channel.name)
  const template = chooseTemplate(stored, { codes, locales, companyId: delivery.company_id })
  if (!template) {
    if (ownText) return { text: ownText, locale: locales[0] ?? options.defaultLocale, templateId: null }
    throw new DeliveryError(
      'reject',
      `no template "${codes.join('" or "')}" for ${channel.name} in ${locales.join(', ')}`,
    )
  }

  const source = { subject: template.subject ?? event.title ?? '', body: template.body }
  const rendered = await ports.renderer.render(
    source,
    channel.bodyFormat,
    templateVariables(delivery, type, user, template.locale, options.publicUrl()),
    template.locale,
  )
  return { text: { ...rendered, format: channel.bodyFormat }, locale: template.locale, templateId: template.id }
}

const unknownUser = (companyId: string, userId: string): User => ({
  company_id: companyId,
  user_id: userId,
  locale: null,
  time_zone: null,
  profile: {},
  addresses: [],
})

/** What an error means for the delivery. An error without a verdict is uncertain only if sending had begun. */
function failure(channel: Channel, delivery: ClaimedDelivery, error: unknown, when: 'before' | 'sending'): Result {
  const { verdict, reason, retryAfterSeconds } = verdictOf(channel, error, when)
  const { id } = delivery
  const finished = delivery.attempt + 1

  if (verdict === 'reject' || verdict === 'forget-address') return { id, state: 'failed', verdict, reason }
  if (verdict === 'uncertain') {
    // Resent once: a second doubt about the same message is for a person.
    const mayResend = channel.onUncertain === 'resend' && delivery.crashes === 0
    return mayResend
      ? { id, state: 'retry', verdict, reason, afterSeconds: UNCERTAIN_RESEND_SECONDS }
      : { id, state: 'uncertain', reason }
  }
  const afterSeconds = retryDelay(channel.retrySeconds, finished, retryAfterSeconds, Math.random())
  if (afterSeconds === null)
    return { id, state: 'failed', verdict, reason: `${reason} (attempt ${finished} was the last)` }
  return { id, state: 'retry', verdict, reason, afterSeconds }
}

/** The first copy, if there is one, has then arrived, and a person who sees it can still cancel. */
const UNCERTAIN_RESEND_SECONDS = 300

function verdictOf(channel: Channel, error: unknown, when: 'before' | 'sending') {
  if (error instanceof DeliveryError) {
    return { verdict: error.verdict, reason: error.message, retryAfterSeconds: error.retryAfterSeconds }
  }
  if (error instanceof TemplateError) {
    // A busy cage is no fault of the template.
    const verdict = error.code === 'timeout' ? 'retry' : 'reject'
    return { verdict, reason: `template: ${error.message}`, retryAfterSeconds: undefined } as const
  }
  const verdict = when === 'sending' && !channel.isIdempotent ? 'uncertain' : 'retry'
  const reason =
    error instanceof Error ? `${error.name} while ${when === 'before' ? 'preparing' : 'sending'}` : 'unknown error'
  return { verdict, reason, retryAfterSeconds: undefined } as const
}

async function renew({ queue, log }: DeliverPorts, { leaseId }: Claim): Promise<void> {
  try {
    await queue.renew(leaseId)
  } catch (error) {
    log.warn({ leaseId, err: error }, 'lease not renewed')
  }
}
