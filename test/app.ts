import { setTimeout as sleep } from 'node:timers/promises'
import { SignJWT } from 'jose'
import { pino } from 'pino'
import { WebSocket } from 'ws'
import { startApp, type App, type AppOptions } from '../src/app.ts'
import { readConfig } from '../src/config.ts'
import type { EventStatus } from '../src/http/event-status-schema.ts'
import { freshDatabase, type FreshDatabase } from './database.ts'

export const API_KEY = `sk_${'k'.repeat(40)}`
export const JWT_SECRET = 'a secret of the tests, thirty-two bytes or more'

// oxlint-disable-next-line typescript/no-explicit-any -- each test says what it expects of an answer
export type Answer = { status: number; headers: Headers; body: any }

export type TestApp = {
  app: App
  database: FreshDatabase
  url: string
  /** Calls the API as a service with every right, unless `authorization` says otherwise. */
  call: (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>
  /** Calls the API as an end user. */
  callAs: (userId: string, method: string, path: string, body?: unknown) => Promise<Answer>
  token: (userId: string, claims?: Record<string, unknown>) => Promise<string>
  connect: (userId: string) => Promise<LiveSession>
  /** What became of an event, once `fits`. */
  statusOf: (eventId: string, fits: (status: EventStatus) => boolean) => Promise<EventStatus>
  close: () => Promise<void>
}

export type LiveSession = {
  frames: Answer['body'][]
  /** The first frame that fits, as soon as it is here. */
  frame: (fits: (frame: Answer['body']) => boolean) => Promise<Answer['body']>
  send: (frame: unknown) => void
  close: () => void
}

/** The whole server in this process, over a database of its own. `env` is added to its settings. */
export async function startTestApp(
  env: Record<string, string> = {},
  options: Partial<AppOptions> = {},
): Promise<TestApp> {
  const database = await freshDatabase()
  const settings = { PORT: '0', DATABASE_URL: database.url, API_KEYS: API_KEY, JWT_SECRET, LEASE_SECONDS: '5', ...env }
  const app = await startApp(readConfig(settings, noFile, options.channels), {
    log: pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' }),
    ...options,
  })
  return {
    app,
    database,
    ...client(app.url),
    async close() {
      await app.close()
      await database.close()
    },
  }
}

/** A client of a server that runs anywhere, with the keys of the tests. */
export function client(url: string, apiKey: string = API_KEY, jwtSecret: string = JWT_SECRET) {
  const call: TestApp['call'] = async (method, path, body, headers = {}) => {
    const response = await fetch(new URL(path, url), {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
  }
  const token: TestApp['token'] = (userId, claims = {}) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(userId)
      .setExpirationTime('10 minutes')
      .sign(Buffer.from(jwtSecret))

  return {
    url,
    call,
    token,
    callAs: async (userId: string, method: string, path: string, body?: unknown) =>
      call(method, path, body, { authorization: `Bearer ${await token(userId)}` }),
    connect: async (userId: string) => liveSession(url, await token(userId)),
    async statusOf(eventId: string, fits: (status: EventStatus) => boolean): Promise<EventStatus> {
      return eventually(async () => {
        const { body } = await call('GET', `/api/v1/events/${encodeURIComponent(eventId)}`)
        return fits(body) ? body : null
      }, `event ${eventId}`)
    },
  }
}

/** Asks until the answer is not null; fails after ten seconds, or as long as is said. */
export async function eventually<Result>(
  ask: () => Promise<Result | null>,
  what: string,
  patienceMs = 10_000,
): Promise<Result> {
  const giveUpAt = Date.now() + patienceMs
  for (;;) {
    const result = await ask()
    if (result !== null) return result
    if (Date.now() > giveUpAt) throw new Error(`waited in vain for ${what}`)
    await sleep(20)
  }
}

async function liveSession(url: string, token: string): Promise<LiveSession> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/v1/ws/notifications?token=${token}`)
  const frames: Answer['body'][] = []
  socket.on('message', (data: Buffer) => frames.push(JSON.parse(data.toString())))
  const frame: LiveSession['frame'] = (fits) => eventually(() => Promise.resolve(frames.find(fits) ?? null), 'a frame')
  await frame(({ type }) => type === 'ready')
  return { frames, frame, send: (data) => socket.send(JSON.stringify(data)), close: () => socket.close() }
}

const noFile = (file: string): string => {
  throw new Error(`no file ${file}`)
}
