import type { DemoEvent } from './events.ts'
import type { demoSession } from './demo-session.ts'

/** An answer of the API that is not 2xx, in the server's words. */
export class RequestError extends Error {}

/** The API as a service calls it, with the key of the demo page. A restarted server has another key: it is fetched then. */
export function service(session: ReturnType<typeof demoSession>) {
  return {
    send: async (event: DemoEvent) => (await call('POST', '/api/v1/events', event)) as { event_id: string },

    /** Tells the directory who the demo user is, so that mail reaches him in the reader's language. */
    introduce: async (userId: string, locale: string) => {
      await call('PUT', `/api/v1/users/${encodeURIComponent(userId)}`, { locale, email: `${userId}@example.com` })
    },
  }

  async function call(method: string, path: string, body: object): Promise<unknown> {
    const first = await request(method, path, body, (await session.get()).service_token)
    const response =
      first.status === 401 ? await request(method, path, body, (await session.renew()).service_token) : first
    const answer = (await response.json()) as { detail?: string }
    if (!response.ok) throw new RequestError(answer.detail ?? response.statusText)
    return answer
  }
}

const request = (method: string, path: string, body: object, key: string): Promise<Response> =>
  fetch(path, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
