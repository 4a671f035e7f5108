import path from 'node:path'

type Language = 'en' | 'ru'

export type BannerFacts = {
  /** Where people reach the server. */
  url: string
  /** This process answers requests; where it does not, there is nothing to try. */
  isApi: boolean
  hasDemo: boolean
  /** Names of the channels that the example uses. */
  channels: readonly string[]
  /** The first API key: shown itself on the first start, later only where it lies. */
  apiKey: string | undefined
  apiKeyFile: string
  isFirstStart: boolean
}

/** What a person reads at the terminal when the server has started: where everything is, and a request to try. */
export function banner(facts: BannerFacts, language: Language): string {
  const text = TEXTS[language]
  const { url, isApi, hasDemo, isFirstStart, apiKey, apiKeyFile } = facts
  const file = path.relative('', apiKeyFile) || apiKeyFile
  const places: [string, string][] = [
    ...(isApi ? pages(text, url, hasDemo) : []),
    [text.health, `${url}/health`],
    [text.metrics, `${url}/metrics`],
  ]
  const key = isFirstStart && apiKey !== undefined ? apiKey : undefined
  const width = Math.max(...[...places.map(([name]) => name), text.key].map(({ length }) => length))
  const place = ([name, value]: [string, string]): string => `  ${name.padEnd(width)}  ${value}`
  return [
    '',
    text.started(url),
    '',
    ...places.map(place),
    ...(apiKey === undefined ? [] : [place([text.key, key === undefined ? text.keyIn(file) : key])]),
    ...(key === undefined ? [] : [place(['', text.keyIsIn(file)])]),
    '',
    ...(isApi
      ? [text.tryIt, '', ...curl(facts, key ?? (apiKey === undefined ? undefined : { file }), language), '']
      : []),
    text.stop,
    '',
  ].join('\n')
}

const pages = (text: (typeof TEXTS)[Language], url: string, hasDemo: boolean): [string, string][] => [
  ...(hasDemo ? [[text.demo, `${url}/`] as [string, string]] : []),
  [text.docs, `${url}/docs`],
  [text.outbox, `${url}/outbox`],
]

function curl(
  { url, channels }: BannerFacts,
  key: string | { file: string } | undefined,
  language: Language,
): string[] {
  const { title, body, yourKey } = TEXTS[language]
  const bearer = typeof key === 'string' ? key : key ? `$(cat ${quotedInside(key.file)})` : yourKey
  const event = JSON.stringify({ user_id: 'demo', type: 'job.done', title, body, channels })
  return [
    `curl -X POST ${url}/api/v1/events \\`,
    `  -H "Authorization: Bearer ${bearer}" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${event}'`,
  ]
}

/** A file name for the shell, inside double quotes. */
const quotedInside = (file: string): string => (/^[\w./-]+$/.test(file) ? file : `'${file.replaceAll("'", `'\\''`)}'`)

const TEXTS = {
  en: {
    started: (url: string) => `EventCenter is running at ${url}`,
    demo: 'Demo inbox',
    docs: 'API docs',
    outbox: 'Mail outbox',
    health: 'Health',
    metrics: 'Metrics',
    key: 'API key',
    keyIn: (file: string) => `in ${file}`,
    keyIsIn: (file: string) => `(kept in ${file}, not shown again)`,
    tryIt: 'Send your first event:',
    title: 'Your report is ready',
    body: 'All 1,204 rows were processed.',
    yourKey: 'YOUR_API_KEY',
    stop: 'Ctrl-C ends it; what was accepted is kept.',
  },
  ru: {
    started: (url: string) => `EventCenter работает: ${url}`,
    demo: 'Демо-страница',
    docs: 'Описание API',
    outbox: 'Исходящая почта',
    health: 'Состояние',
    metrics: 'Метрики',
    key: 'Ключ API',
    keyIn: (file: string) => `в файле ${file}`,
    keyIsIn: (file: string) => `(хранится в ${file}, больше не показывается)`,
    tryIt: 'Отправьте первое событие:',
    title: 'Ваш отчёт готов',
    body: 'Обработаны все 1204 строки.',
    yourKey: 'ВАШ_КЛЮЧ_API',
    stop: 'Ctrl-C останавливает сервер; всё принятое сохраняется.',
  },
} as const
