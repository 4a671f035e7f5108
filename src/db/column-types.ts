import pg from 'pg'

type Parser = (text: string) => unknown

/** How column values become JavaScript values; given to each client, so that no global table of `pg` is changed. */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    (format !== 'binary' && parsers.get(oid)) ||
    pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser'],
}

/**
 * `2026-01-02 03:04:05.6+00`, as PostgreSQL writes it in UTC, as `2026-01-02T03:04:05.600Z`. No precision is lost (a
 * keyset cursor must find its row again), and times that came from JavaScript look as `toISOString` writes them.
 */
export function rfc3339(text: string): string {
  const match = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00$/.exec(text)
  if (!match) return text // infinity, or a year before our era
  const [, date, time, fraction = ''] = match
  return `${date}T${time}.${fraction.padEnd(fraction.length > 3 ? 6 : 3, '0')}Z`
}

const asText: Parser = (text) => text
const arrayOf =
  (parse: Parser): Parser =>
  (text) =>
    parseTexts(text).map((item) => (item === null ? null : parse(item)))

const textArray: number = 1009
const parseTexts = pg.types.getTypeParser(textArray) as (text: string) => (string | null)[]
const parsers = new Map<number, Parser>([
  [20, asText], // bigint
  [1016, arrayOf(asText)],
  [1082, asText], // date
  [1182, arrayOf(asText)],
  [1083, asText], // time
  [1114, asText], // timestamp without time zone
  [1115, arrayOf(asText)],
  [1184, rfc3339], // timestamptz
  [1185, arrayOf(rfc3339)],
  [1186, asText], // interval
])
