/** What a client may send. Members that are not known are ignored, so that newer clients can talk to older servers. */
export type ClientFrame =
  | { type: 'auth'; token: string }
  | { type: 'ping' }
  | { type: 'resume'; since: number }
  | { type: 'ack'; seq: number }
  | { type: 'read'; id: string }

/** Reads one frame: `not-a-frame` breaks the protocol, `unknown` and `invalid` are answered and forgiven. */
export function parseClientFrame(text: string): ClientFrame | 'not-a-frame' | 'unknown' | 'invalid' {
  const value = parseObject(text)
  if (!value || typeof value.type !== 'string') return 'not-a-frame'

  switch (value.type) {
    case 'ping':
      return { type: 'ping' }
    case 'auth':
      return typeof value.token === 'string' ? { type: 'auth', token: value.token } : 'invalid'
    case 'resume':
      return isSeq(value.since) ? { type: 'resume', since: value.since } : 'invalid'
    case 'ack':
      return isSeq(value.seq) ? { type: 'ack', seq: value.seq } : 'invalid'
    case 'read':
      return typeof value.id === 'string' ? { type: 'read', id: value.id } : 'invalid'
    default:
      return 'unknown'
  }
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null
  } catch {
    return null
  }
}

const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
