/** What an API key may do. A key holds some of these words; nothing is allowed by default. */
export const SCOPES = [
  'events:write',
  'events:read',
  'event-types:write',
  'event-types:read',
  'templates:write',
  'templates:read',
  'users:write',
  'users:read',
  'dead-letters:write',
  'dead-letters:read',
  'keys:write',
  'connections:read',
  'outbox:read',
  'metrics:read',
  /** The headers X-Initiated-By-* count. */
  'initiator:set',
] as const
export type Scope = (typeof SCOPES)[number]

export const isScope = (text: string): text is Scope => (SCOPES as readonly string[]).includes(text)
