import type { Event } from './event.ts'

/** The template that says something of every event, in its own title and body. */
export const DEFAULT_CODE = 'default'
/** A template of this locale serves every language; the last resort. */
export const ANY_LOCALE = 'default'

/** What decides between templates of one channel. `company_id` '' is platform-wide. */
export type TemplateKey = { company_id: string; template_code: string; locale: string }

/**
 * The template codes of an event, the most particular first: by service (`data.service`), by type, any. `code` is the
 * event type's `template_code`, or its name.
 */
export function templateCodes(code: string, { data }: Pick<Event, 'data'>): string[] {
  const ofService = typeof data.service === 'string' && data.service !== '' ? [`${code}.${data.service}`] : []
  return [...ofService, code, DEFAULT_CODE]
}

/**
 * The locales to look for, best first: `ru-RU`, `ru`, then those of the default locale, then `default`. An unreadable
 * locale counts as none.
 */
export function localeChain(locale: string | null | undefined, defaultLocale: string): string[] {
  return [...new Set([...withParents(locale), ...withParents(defaultLocale), ANY_LOCALE])]
}

/** `ru_RU` → `ru-RU`; null for what is no language tag. */
export function canonicalLocale(text: string): string | null {
  try {
    return Intl.getCanonicalLocales(text.replaceAll('_', '-'))[0] ?? null
  } catch {
    return null
  }
}

/**
 * The template to use among those of one channel. The code counts most: a text about this very event in another language
 * says more than a general one. Then the locale; then the company's own before the platform's.
 */
export function chooseTemplate<Template extends TemplateKey>(
  templates: readonly Template[],
  { codes, locales, companyId }: { codes: readonly string[]; locales: readonly string[]; companyId: string },
): Template | null {
  let best: { template: Template; rank: number[] } | null = null
  for (const template of templates) {
    const rank = [
      codes.indexOf(template.template_code),
      locales.indexOf(template.locale),
      [companyId, ''].indexOf(template.company_id),
    ]
    if (rank.includes(-1)) continue
    if (!best || isBefore(rank, best.rank)) best = { template, rank }
  }
  return best?.template ?? null
}

const isBefore = (a: readonly number[], b: readonly number[]): boolean => {
  const index = a.findIndex((value, index) => value !== b[index])
  return index !== -1 && (a[index] ?? 0) < (b[index] ?? 0)
}

function withParents(text: string | null | undefined): string[] {
  const locale = text ? canonicalLocale(text) : null
  if (locale === null) return []
  const parts = locale.split('-')
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('-'))
}
