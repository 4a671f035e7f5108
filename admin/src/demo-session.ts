/** What the server lends to the demo page; see src/http/demo.ts. */
export type DemoSession = { user_id: string; user_token: string; service_token: string; expires_in: number }

/** A new token is fetched this long before the old one ends. */
const EARLY_MS = 60_000

/** The demo session, fetched when needed and again when it ends. */
export function demoSession(): { get: () => Promise<DemoSession>; renew: () => Promise<DemoSession> } {
  let current: Promise<DemoSession> | null = null
  let until = 0

  return {
    get: () => (current && Date.now() < until ? current : renew()),
    renew,
  }

  async function renew(): Promise<DemoSession> {
    until = Infinity // callers meanwhile wait for the same answer
    current = fetchSession()
    try {
      const session = await current
      until = Date.now() + session.expires_in * 1000 - EARLY_MS
      return session
    } catch (error) {
      current = null
      throw error
    }
  }
}

async function fetchSession(): Promise<DemoSession> {
  const response = await fetch('/demo/session', { method: 'POST' })
  if (!response.ok) throw new Error(`${response.status}`)
  return (await response.json()) as DemoSession
}
