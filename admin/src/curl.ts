import type { DemoEvent } from './events.ts'

/** The request as a command for any shell of the Bourne family. */
export function curlOf(url: string, key: string, event: DemoEvent): string {
  return [
    `curl -X POST ${quoted(`${url}/api/v1/events`)}`,
    `  -H ${quoted(`Authorization: Bearer ${key}`)}`,
    `  -H ${quoted('Content-Type: application/json')}`,
    `  -d ${quoted(JSON.stringify(event, null, 2))}`,
  ].join(' \\\n')
}

/** Within single quotes a shell reads everything as it is, except the single quote itself. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
