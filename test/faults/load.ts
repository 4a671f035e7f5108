import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestApp } from '../app.ts'
import { oneOf } from './random.ts'

export type Load = {
  /** At least so many. */
  events: number
  users: number
  /** A file that gets a line for each event that was answered with 202. */
  acceptedLog: string
  random: () => number
  /** Whether more may be sent, when so many were accepted. */
  mayGoOn: (accepted: number) => boolean
  /** More than `events` are sent until this is true. */
  mayEnd: () => boolean
  /** Requests at the same time. */
  callers: number
}

type Event = Record<string, unknown> & { id: string }

const MAX_BATCH = 100

/**
 * Sends events, alone and in batches, as a careful producer does: each with its own id, again and again until it is
 * answered with 202. `accepted()` counts those; resolves when all are. Rejects at an answer that no retry can change.
 */
export function startLoad(
  { call }: Pick<TestApp, 'call'>,
  load: Load,
): { accepted: () => number; done: Promise<unknown> } {
  const { random } = load
  let next = 0
  let accepted = 0

  function event(): Event {
    const n = next++
    return {
      id: `load-${n}`,
      user_id: `user-${Math.floor(random() * load.users)}`,
      type: oneOf(random, ['job.done', 'message.new']),
      title: `Number ${n}`,
      body: 'Нечто готово, взгляните.',
      channels: random() < 0.2 ? ['ws', 'email'] : ['email'],
    }
  }

  async function caller(): Promise<void> {
    while (next < load.events || !load.mayEnd()) {
      if (!load.mayGoOn(accepted)) {
        await sleep(10)
        continue
      }
      const count = random() < 0.5 ? 1 : Math.ceil(random() * MAX_BATCH)
      const left = load.events - next
      const events = Array.from({ length: left > 0 ? Math.min(count, left) : count }, event)
      const answers = events.length === 1 ? [await untilAccepted('/api/v1/events', events[0])] : await batch(events)
      accepted += answers.length
      for (const answer of answers) appendFileSync(load.acceptedLog, `${JSON.stringify(answer)}\n`)
    }
  }

  async function batch(events: Event[]): Promise<unknown[]> {
    const answer = (await untilAccepted('/api/v1/events/batch', { events })) as { events: unknown[] }
    return answer.events
  }

  async function untilAccepted(path: string, body: unknown): Promise<unknown> {
    for (;;) {
      const answer = await call('POST', path, body).catch(() => null)
      if (answer?.status === 202) return answer.body
      if (answer && ![409, 503].includes(answer.status)) {
        throw new Error(`answered ${answer.status}: ${JSON.stringify(answer.body)}`)
      }
      await sleep(50 + random() * 100)
    }
  }

  return { accepted: () => accepted, done: Promise.all(Array.from({ length: load.callers }, caller)) }
}
