export type Mail = { id: string; message_id: string; from: string; to: string; subject: string; created_at: string }
export type FullMail = Mail & { text: string; html: string | null }

export class OutboxError extends Error {
  readonly status: number

  constructor(status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

/** The mail outbox over the API. `key` is asked again, as stale, after a 401. */
export function outboxApi(key: (isStale: boolean) => Promise<string>) {
  return {
    list: async (after: string | null) => {
      const query = after === null ? '' : `?after=${encodeURIComponent(after)}`
      return (await get(`/api/v1/outbox${query}`)) as { items: Mail[]; next: string | null }
    },
    read: async (id: string) => (await get(`/api/v1/outbox/${encodeURIComponent(id)}`)) as FullMail,
  }

  async function get(path: string): Promise<unknown> {
    const first = await request(path, await key(false))
    const response = first.status === 401 ? await request(path, await key(true)) : first
    const answer = (await response.json()) as { detail?: string }
    if (!response.ok) throw new OutboxError(response.status, answer.detail ?? response.statusText)
    return answer
  }
}

const request = (path: string, key: string): Promise<Response> =>
  fetch(path, { headers: { authorization: `Bearer ${key}` } })
