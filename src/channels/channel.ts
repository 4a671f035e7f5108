import type { Bus } from '../bus/bus.ts'
import type { Account } from '../core/account.ts'
import type { Event, Lane } from '../core/event.ts'
import type { Setting } from '../core/setting.ts'
import type { Address, User } from '../directory/directory.ts'
import type { Notification } from '../core/notification.ts'

/**
 * A rendered text: of the channel's template, or the event's own title and body. `format` is `html` only for a template
 * of a channel whose `bodyFormat` is html; an event's own text is always `text`, whatever it looks like.
 */
export type RenderedText = { subject: string; body: string; format: 'html' | 'text' }

/** Everything a channel may use to build and send one message. */
export type Message = {
  /** Public uuid of the delivery (`job_id`): the same on every attempt, so that the other side can tell a repetition. */
  jobId: string
  companyId: string
  event: Event
  /** The inbox row as the user sees it now. */
  notification: Notification
  /** The event replaced an earlier one in the same inbox row. */
  isUpdate: boolean
  locale: string
  text: RenderedText
  /** Where it waited. What is for one person (`p2p`) does not wait within a channel for what goes to many either. */
  lane: Lane
}

/** What the other side said of an accepted message. */
export type Receipt = { providerId?: string }

/** One way to reach people. It sends once and reports; it never retries, stores, or reads the environment. */
export type Channel = {
  name: string
  /** How template values are escaped in the body; subjects are always plain text. */
  bodyFormat: 'html' | 'text'
  /** Belongs to the inbox: its notifications are listed there and take a `seq` when they are shown. */
  isInbox: boolean
  /** An event's own title and body are the text, and a template is only needed where the event has none. */
  prefersOwnText: boolean
  /** Sending twice is the same as sending once (the receiver folds repetitions), so a crash needs no caution. */
  isIdempotent: boolean
  /** What happens when nobody can know whether the other side accepted: send once more, or wait for a person. */
  onUncertain: 'resend' | 'hold'
  /**
   * What sends for it at its provider. Limits are the account's, whoever the messages are for, and so is an answer that
   * tells us to wait. Without an account there is neither.
   */
  account?: Account
  /** Seconds before the second, third, … attempt; after the last one the delivery is dead. */
  retrySeconds: readonly number[]
  /**
   * An address as services write it, in its canonical form, or null when it is none. A channel that has it takes
   * addresses in the directory, under its own name: `PUT /api/v1/users/{user_id} {"<name>": "…"}`.
   */
  parseAddress?(text: string): string | null
  /** Where this user is reached, or null: nowhere. */
  address(user: User): Address | null
  /** Sends once. Throws `DeliveryError`; any other error counts as `retry`, or `uncertain` where not idempotent. */
  send(address: Address, message: Message, signal: AbortSignal): Promise<Receipt>
  /** Rejects when the channel's provider cannot be reached now; shown by `doctor`. */
  check?(): Promise<void>
  close?(): Promise<void>
}

/** Where mail goes when no SMTP server is set. */
export type MailOutbox = {
  keep(mail: {
    messageId: string
    from: string
    to: string
    subject: string
    text: string
    html: string | null
    companyId: string
  }): Promise<void>
}

/** What `app.ts` hands to every channel; each takes what it needs. */
export type ChannelPorts = { bus: Bus; mailOutbox: MailOutbox }

/**
 * A channel as it is written: one file, listed in `all.ts`. `settings` are environment variables; they feed parsing,
 * `eventcenter config`, the documentation and validation.
 */
export type ChannelDefinition<Settings extends Record<string, Setting> = Record<string, Setting>> = {
  name: string
  settings: Settings
  /** What is wrong with settings that are right each for itself. Those that could not be parsed are absent. */
  faults?(settings: Partial<SettingValues<Settings>>): { name: string; message: string }[]
  open(settings: SettingValues<Settings>, ports: ChannelPorts): Channel
}

export type SettingValues<Settings extends Record<string, Setting>> = {
  [Name in keyof Settings]: ReturnType<Settings[Name]['parse']>
}

/** Keeps the types of a definition's settings together; it is the definition, unchanged. */
export const defineChannel = <const Settings extends Record<string, Setting>>(
  definition: ChannelDefinition<Settings>,
): ChannelDefinition<Settings> => definition
