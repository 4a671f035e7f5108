import { STATUS_CODES, type ServerOptions } from 'node:http'
import type { Socket } from 'node:net'

/** Against clients that send slowly, much, or never end (slowloris): times in ms, sizes in bytes. */
export const CONNECTION_LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16 * 1024,
} satisfies ServerOptions

/** Longer than the keep-alive of the usual proxies (60 s), so that they never send into a connection being closed. */
export const KEEP_ALIVE_MS = 72_000

export const MAX_HEADERS = 100

const STATUSES: Record<string, number> = { ERR_HTTP_REQUEST_TIMEOUT: 408, HPE_HEADER_OVERFLOW: 431 }

/** Answers what is no HTTP request, and ends the connection. */
export function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = STATUSES[error.code ?? ''] ?? 400
  const title = STATUS_CODES[status] ?? ''
  const problem = {
    type: 'urn:eventcenter:problem:invalid',
    title,
    status,
    detail: 'This is no request that can be read',
  }
  const body = JSON.stringify(problem)
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
