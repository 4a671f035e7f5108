import type { Notification } from './protocol.ts'

/** Gives a user token: the same one, or a fresh one where it is asked for anew. */
export type TokenSource = string | (() => string | Promise<string>)

export const tokenOf = async (source: TokenSource): Promise<string> => (typeof source === 'string' ? source : source())

/** An answer that is not 2xx. `detail` is what the server says of it. */
export class ApiError extends Error {
  readonly status: number

  constructor(status: number, detail: string) {
    super(detail)
    this.name = 'ApiError'
    this.status = status
  }
}

export type Page = { items: Notification[]; next: string | null }

/** The personal account over HTTP. */
export type Api = {
  list: (after: string | null) => Promise<Page>
  change: (id: string, change: 'read' | 'unread' | 'seen' | 'archive' | 'unarchive') => Promise<Notification>
  snooze: (id: string, until: Date) => Promise<Notification>
  readAll: () => Promise<void>
}

export function api(baseUrl: URL, token: TokenSource, pageSize: number): Api {
  return {
    list: (after) => {
      const query = new URLSearchParams({ limit: String(pageSize), ...(after === null ? {} : { after }) })
      return call(`?${query}`, 'GET') as Promise<Page>
    },
    change: (id, change) => call(`/${encodeURIComponent(id)}/${change}`, 'POST') as Promise<Notification>,
    snooze: (id, until) =>
      call(`/${encodeURIComponent(id)}/snooze`, 'POST', { until: until.toISOString() }) as Promise<Notification>,
    readAll: async () => void (await call('/read-all', 'POST')),
  }

  async function call(path: string, method: string, body?: object): Promise<unknown> {
    const response = await fetch(new URL(`api/v1/notifications${path}`, baseUrl), {
      method,
      headers: {
        authorization: `Bearer ${await tokenOf(token)}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    if (response.ok) return response.json()
    const problem = (await response.json().catch(() => ({}))) as { detail?: unknown }
    throw new ApiError(response.status, typeof problem.detail === 'string' ? problem.detail : response.statusText)
  }
}
