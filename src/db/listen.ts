import pg from 'pg'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectionConfig } from './connection-config.ts'
import { toAppError } from './database-errors.ts'

type Listener = {
  channel: string
  onNotify: (payload: string) => void
  onConnect?: (() => void) | undefined
  onError: (error: Error) => void
}

const HEARTBEAT_MS = 15_000
/** Whoever is silent for so long, asked to listen or whether he is there, is gone. */
const SILENCE_MS = 5000
const MAX_BACKOFF_MS = 5000

/**
 * Listens on a connection of its own and connects again, with growing pauses, for as long as it is not stopped.
 * Rejects only when the first connection fails.
 */
export async function listen(
  target: string | pg.ClientConfig,
  listener: Listener,
): Promise<{ stop: () => Promise<void> }> {
  const stopping = new AbortController()
  let client = await start(target, listener, stopping.signal)
  const done = keepListening()

  return {
    async stop() {
      stopping.abort()
      await done
    },
  }

  async function keepListening(): Promise<void> {
    while (true) {
      await lossOf(client, listener, stopping.signal)
      await client.end().catch(listener.onError)
      const next = await startAgain(target, listener, stopping.signal)
      if (!next) return
      client = next
    }
  }
}

async function start(
  target: string | pg.ClientConfig,
  { channel, onNotify, onConnect, onError }: Listener,
  signal: AbortSignal,
): Promise<pg.Client> {
  const config = connectionConfig(target, { applicationName: 'eventcenter listen' })
  const client = new pg.Client({ ...config, query_timeout: SILENCE_MS })
  client.on('error', onError)
  client.on('notification', ({ payload }) => {
    if (!signal.aborted) onNotify(payload ?? '')
  })
  try {
    await client.connect()
    await client.query(`listen ${pg.escapeIdentifier(channel)}`)
  } catch (error) {
    await client.end().catch(onError)
    throw toAppError(error, true)
  }
  onConnect?.()
  return client
}

async function startAgain(
  target: string | pg.ClientConfig,
  listener: Listener,
  signal: AbortSignal,
): Promise<pg.Client | undefined> {
  for (let pauseMs = 50; !signal.aborted; pauseMs = Math.min(pauseMs * 2, MAX_BACKOFF_MS)) {
    try {
      await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal })
      return await start(target, listener, signal)
    } catch (error) {
      if (!signal.aborted) listener.onError(error as Error)
    }
  }
  return undefined
}

/** Resolves when the connection is gone. A heartbeat finds those that died without a word, as behind a firewall. */
async function lossOf(client: pg.Client, { onError }: Listener, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  client.once('end', resolve)
  const onAbort = (): void => resolve()
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) resolve()
  const beat = setInterval(() => {
    client.query('select').catch((error: Error) => {
      onError(error)
      resolve()
    })
  }, HEARTBEAT_MS)
  await promise
  clearInterval(beat)
  signal.removeEventListener('abort', onAbort)
}
