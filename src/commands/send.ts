import { configOfProcess, type Config } from '../config.ts'
import { AppError } from '../core/errors.ts'
import { readApiKey } from '../secrets.ts'
import { print, visible } from './print.ts'
import { localUrl } from './urls.ts'

const TIMEOUT_MS = 15_000

/** `eventcenter send`: gives one event to the server that runs here (or at `--url`), over its HTTP API. */
export async function sendEvent(options: {
  to: string
  type: string
  title: string
  body: string
  level?: string
  channel?: string[]
  data?: string
  url?: string
}): Promise<void> {
  const config = configOfProcess()
  const { to, type, title, body, level, channel, data, url = localUrl(config) } = options
  const event = {
    user_id: to,
    type,
    title,
    body,
    ...(level !== undefined && { level }),
    ...(channel !== undefined && { channels: channel }),
    ...(data !== undefined && { data: parseData(data) }),
  }
  const response = await post(serverAt(url), await apiKey(config), event)
  const answer = await response.text()
  if (!response.ok) throw new AppError('invalid', `The server answers ${response.status}: ${problem(answer)}`)
  print(visible(answer))
}

/** Without a slash at its end; the path of a server behind a proxy is kept. */
function serverAt(url: string): string {
  const { protocol, origin, pathname } = URL.parse(url) ?? {}
  if (protocol === 'http:' || protocol === 'https:') return `${origin}${pathname}`.replace(/\/+$/, '')
  throw new AppError('invalid', '--url must be an http(s) address such as https://notify.example.com')
}

async function post(server: string, key: string, event: object): Promise<Response> {
  try {
    return await fetch(`${server}/api/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(event),
      redirect: 'error', // the key is for this server alone
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
  } catch (cause) {
    throw new AppError('unavailable', `No EventCenter answers at ${server}: start it with \`eventcenter serve\``, {
      cause,
    })
  }
}

async function apiKey({ API_KEYS, DATA_DIR }: Config): Promise<string> {
  const key = API_KEYS[0] ?? (await readApiKey(DATA_DIR))
  if (key) return key
  throw new AppError('unauthorized', `There is no API key here: set API_KEYS, or start the server once on ${DATA_DIR}`)
}

function parseData(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new AppError('invalid', '--data must be a JSON object, such as {"job_id":"7"}')
  }
}

/** The explanation inside a problem document (RFC 9457), or the beginning of any other answer. */
function problem(answer: string): string {
  try {
    const { detail } = JSON.parse(answer) as { detail?: unknown }
    if (typeof detail === 'string') return visible(detail)
  } catch {
    // Not JSON: something else answered there.
  }
  return visible(answer.slice(0, 200))
}
