type Recipient = { locale: string; timeZone: string }

const STYLES = ['short', 'medium', 'long', 'full'] as const
type Style = (typeof STYLES)[number]
const MAX_PATTERN_LENGTH = 100

/**
 * A moment in the recipient's language and time zone. `format` is a style (`short`, `medium`, `long`, `full`) or, for
 * `date`, a pattern such as `%d.%m.%Y %H:%M`. `datetime` names the zone, for it is what deadlines are written with.
 */
export function formatDate(
  value: unknown,
  kind: 'date' | 'time' | 'datetime',
  format: string | undefined,
  { locale, timeZone }: Recipient,
): string {
  if (value === null || value === undefined || value === '') return ''
  const date = toDate(value)
  if (!date) throw new Error(`${kind}: expected a time such as 2026-01-31T12:00:00Z or seconds since 1970`)
  if (kind === 'date' && format?.includes('%')) return byPattern(date, format, { locale, timeZone })

  const style = STYLES.find((name) => name === (format ?? DEFAULT_STYLES[kind]))
  if (!style) throw new Error(`${kind}: the style is one of ${STYLES.join(', ')}`)
  return new Intl.DateTimeFormat(locale, { timeZone, ...OPTIONS[kind](style) }).format(date)
}

const DEFAULT_STYLES = { date: 'long', time: 'short', datetime: 'long' } as const

/** Date styles cannot be joined with the name of the zone, so `datetime` spells out its parts. */
const OPTIONS: Record<'date' | 'time' | 'datetime', (style: Style) => Intl.DateTimeFormatOptions> = {
  date: (style) => ({ dateStyle: style }),
  time: (style) => ({ timeStyle: style }),
  datetime: (style) => ({
    year: 'numeric',
    month: style === 'short' ? '2-digit' : style === 'medium' ? 'short' : 'long',
    day: style === 'short' ? '2-digit' : 'numeric',
    ...(style === 'full' && { weekday: 'long' }),
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
  }),
}

/** The last moment JavaScript knows is 8.64e15 ms; whole numbers below 1e11 are seconds, as Liquid counts. */
function toDate(value: unknown): Date | null {
  const number =
    typeof value === 'number' ? value : typeof value === 'string' && /^\d{1,13}$/.test(value) ? Number(value) : null
  if (number === null && !(typeof value === 'string' && /^\d{4}-\d\d-\d\d/.test(value) && value.length <= 40))
    return null
  const date = new Date(number === null ? String(value) : number < 1e11 ? number * 1000 : number)
  return Number.isNaN(date.getTime()) ? null : date
}

const PATTERN_PARTS: Record<string, [keyof Intl.DateTimeFormatPartTypesRegistry, Intl.DateTimeFormatOptions]> = {
  Y: ['year', { year: 'numeric' }],
  y: ['year', { year: '2-digit' }],
  m: ['month', { month: '2-digit', day: '2-digit' }],
  d: ['day', { day: '2-digit', month: '2-digit' }],
  e: ['day', { day: 'numeric', month: 'long' }],
  // With the day beside it, the month takes the form that it has in a date: «5 мая».
  B: ['month', { month: 'long', day: 'numeric' }],
  b: ['month', { month: 'short', day: 'numeric' }],
  A: ['weekday', { weekday: 'long' }],
  a: ['weekday', { weekday: 'short' }],
  H: ['hour', { hour: '2-digit', hourCycle: 'h23' }],
  I: ['hour', { hour: '2-digit', hour12: true }],
  M: ['minute', { minute: '2-digit', hour: '2-digit' }],
  S: ['second', { second: '2-digit', minute: '2-digit' }],
  p: ['dayPeriod', { hour: '2-digit', hour12: true }],
  Z: ['timeZoneName', { timeZoneName: 'short' }],
}

/** No widths: a pattern cannot ask for more text than it has letters. */
function byPattern(date: Date, pattern: string, { locale, timeZone }: Recipient): string {
  if (pattern.length > MAX_PATTERN_LENGTH)
    throw new Error(`date: a pattern has at most ${MAX_PATTERN_LENGTH} characters`)
  return pattern.replace(/%(-?)(.?)/gsu, (whole: string, bare: string, letter: string) => {
    if (letter === '%') return '%'
    const known = PATTERN_PARTS[letter]
    if (!known) throw new Error(`date: ${whole} is not known; use ${Object.keys(PATTERN_PARTS).join(' ')}`)
    const [type, options] = known
    const parts = new Intl.DateTimeFormat(locale, { timeZone, ...options }).formatToParts(date)
    const text = parts.find((part) => part.type === type)?.value ?? ''
    if (bare) return text.replace(/^0(?=\d)/, '')
    return 'dmHIMS'.includes(letter) ? text.padStart(2, '0') : text
  })
}

/** `1 234,5`; with `digits`, exactly so many after the separator. */
export function formatNumber(value: unknown, digits: unknown, { locale }: Recipient): string {
  const fraction =
    digits === undefined ? {} : { minimumFractionDigits: toDigits(digits), maximumFractionDigits: toDigits(digits) }
  return new Intl.NumberFormat(locale, fraction).format(toNumber('number', value))
}

export function formatMoney(value: unknown, currency: string, { locale }: Recipient): string {
  if (!/^[A-Z]{3}$/.test(currency)) throw new Error('money: name the currency, as in {{ data.sum | money: "RUB" }}')
  return new Intl.NumberFormat(locale, { style: 'currency', currency }).format(toNumber('money', value))
}

/**
 * The form of a word that goes with a number: `{{ n }} {{ n | plural: 'файл', 'файла', 'файлов' }}`. Two forms are one
 * and other; three are one, few and many, and few serves fractions. Forms may be named: `one: 'file', other: 'files'`.
 */
export function pluralForm(value: unknown, forms: readonly unknown[], { locale }: Recipient): string {
  const category = new Intl.PluralRules(locale).select(toNumber('plural', value))
  return namedForms(forms).get(category) ?? namedForms(forms).get('other') ?? ''
}

/** Which forms of a language are missing in a `plural`. */
export function missingPluralForms(forms: readonly unknown[], locale: string): string[] {
  const named = namedForms(forms)
  return new Intl.PluralRules(locale).resolvedOptions().pluralCategories.filter((category) => !named.has(category))
}

function namedForms(forms: readonly unknown[]): Map<string, string> {
  const named = new Map<string, string>()
  const positional: string[] = []
  for (const form of forms) {
    if (Array.isArray(form)) named.set(String(form[0]), String(form[1]))
    else positional.push(String(form))
  }
  const names = positional.length === 2 ? ['one', 'other'] : ['one', 'few', 'many', 'other']
  for (const [index, form] of positional.entries()) named.set(names[index] ?? 'other', form)
  const few = named.get('few')
  if (!named.has('other') && few !== undefined) named.set('other', few)
  return named
}

function toNumber(filter: string, value: unknown): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number === 'number' && Number.isFinite(number)) return number
  throw new Error(`${filter}: expected a number`)
}

function toDigits(value: unknown): number {
  const digits = Number(value)
  if (Number.isInteger(digits) && digits >= 0 && digits <= 10) return digits
  throw new Error('number: from 0 to 10 digits')
}
