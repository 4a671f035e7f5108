import type { Context, Liquid } from 'liquidjs'
import { filters as builtIn } from 'liquidjs'
import { formatDate, formatMoney, formatNumber, pluralForm } from './local-formats.ts'
import { escapeHtml, withoutControls } from './text.ts'

/** Whose language and clock the filters speak; kept with each rendering. */
export type Recipient = { locale: string; timeZone: string }

const REGISTER = 'eventcenter:recipient'

export const setRecipient = (context: Context, recipient: Recipient): Recipient =>
  context.setRegister(REGISTER, recipient)

/** Of LiquidJS, only what makes texts. Not among them: `raw`, `strip_html`, `json`, everything with expressions. */
const BUILT_IN = (
  'abs append at_least at_most capitalize ceil compact concat default divided_by downcase first floor join last lstrip ' +
  'map minus modulo plus prepend remove remove_first replace replace_first reverse round rstrip size slice sort ' +
  'sort_natural split strip strip_newlines sum times truncate truncatewords uniq upcase url_encode where'
).split(' ')

/** Leaves the engine with the allowed filters and no others. */
export function useFilters(engine: Liquid, format: 'html' | 'text'): void {
  for (const name of Object.keys(engine.filters)) {
    if (!BUILT_IN.includes(name)) engine.unregisterFilter(name)
  }
  for (const name of BUILT_IN) if (!(name in builtIn)) throw new Error(`LiquidJS has lost its filter ${name}`)

  const escape = outputEscape(format)
  engine.registerFilter('escape', { raw: true, handler: escape })
  engine.registerFilter('newline_to_br', {
    raw: true,
    handler: (value: unknown) => (format === 'html' ? escape(value).replace(/\r?\n/g, '<br>\n') : escape(value)),
  })
  engine.registerFilter('absolute_url', (value: unknown, base: unknown) => absoluteUrl(toText(value), toText(base)))

  for (const style of ['date', 'time', 'datetime'] as const) {
    engine.registerFilter(style, function (value: unknown, format: unknown) {
      return formatDate(value, style, format === undefined ? undefined : toText(format), recipientOf(this.context))
    })
  }
  engine.registerFilter('number', function (value: unknown, digits: unknown) {
    return formatNumber(value, digits, recipientOf(this.context))
  })
  engine.registerFilter('money', function (value: unknown, currency: unknown) {
    return formatMoney(value, toText(currency), recipientOf(this.context))
  })
  engine.registerFilter('plural', function (value: unknown, ...forms: unknown[]) {
    return pluralForm(value, forms, recipientOf(this.context))
  })
}

/** What every value passes through on its way into the message. */
export const outputEscape =
  (format: 'html' | 'text') =>
  (value: unknown): string => {
    const text = withoutControls(toText(value))
    return format === 'html' ? escapeHtml(text) : text
  }

const recipientOf = (context: Context): Recipient => context.getRegister(REGISTER, { locale: 'en', timeZone: 'UTC' })

/** A value as the engine writes it, but objects as JSON. */
export function toText(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return value.map(toText).join('')
  if (typeof value === 'object' && value !== null) return JSON.stringify(value)
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

/** A path of the site as an address that works in a mail. */
const absoluteUrl = (url: string, base: string): string =>
  url.startsWith('/') && URL.canParse(url, base) ? new URL(url, base).href : url
