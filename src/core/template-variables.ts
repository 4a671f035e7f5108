import type { Event } from './event.ts'
import type { EventType } from './event-type.ts'
import type { JsonObject } from './json.ts'

/** Whom a message is for, as the directory knows him. */
type Recipient = { user_id: string; locale: string | null; time_zone: string | null; profile: JsonObject }

/** What a template may say of one delivery (docs/templates.md). `locale` is the template's. */
export function templateVariables(
  { event, vars }: { event: Event; vars: JsonObject | null },
  type: EventType | null,
  { user_id, time_zone, profile, ...user }: Recipient,
  locale: string,
  inboxUrl: string,
): { user: JsonObject; event: JsonObject; data: JsonObject; links: JsonObject } {
  return {
    user: { ...profile, user_id, locale: user.locale ?? locale, ...(time_zone !== null && { time_zone }) },
    event: { level: type?.level ?? 'info', ...event },
    data: { ...event.data, ...vars },
    links: { inbox: inboxUrl },
  }
}
