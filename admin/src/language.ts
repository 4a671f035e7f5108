import { element, setText } from './dom.ts'
import { TEXTS, type Language, type Plural, type TextName } from './texts.ts'

const KEPT_AS = 'eventcenter-language'
const LANGUAGES: readonly Language[] = ['en', 'ru']
const NAMES: Record<Language, string> = { en: 'English', ru: 'Русский' }

let language: Language = chosen()
const listeners = new Set<() => void>()

export const currentLanguage = (): Language => language

/** Calls back whenever another language was chosen. */
export function onLanguage(listener: () => void): void {
  listeners.add(listener)
}

/** A text in the chosen language. */
export function say(name: TextName, values: Readonly<Record<string, string | number>> = {}): string {
  return fill(TEXTS[language][name], values, language)
}

/** Puts values into a text; a plural text goes by `count`. */
export function fill(
  text: string | Plural,
  values: Readonly<Record<string, string | number>>,
  language: Language,
): string {
  const pattern = typeof text === 'string' ? text : pluralOf(text, Number(values['count']), language)
  return pattern.replace(/\{(\w+)\}/g, (_match, key: string) => {
    const value = values[key] ?? ''
    return typeof value === 'number' ? value.toLocaleString(language) : value
  })
}

/** Writes the texts of the page's HTML: each element says in `data-text` which one it shows. */
export function translatePage(values: Readonly<Record<string, string>> = {}): void {
  document.documentElement.lang = language
  for (const target of document.querySelectorAll<HTMLElement>('[data-text]')) {
    setText(target, say(target.dataset['text'] as TextName, values))
  }
  for (const target of document.querySelectorAll<HTMLElement>('[data-label]')) {
    target.setAttribute('aria-label', say(target.dataset['label'] as TextName, values))
  }
}

/** Fills a group with one button per language. */
export function languageSwitch(group: HTMLElement): void {
  for (const one of LANGUAGES) {
    const button = element('button', { type: 'button', lang: one }, NAMES[one])
    button.addEventListener('click', () => choose(one))
    const mark = (): void => button.setAttribute('aria-pressed', String(one === language))
    onLanguage(mark)
    mark()
    group.append(button)
  }
}

function choose(next: Language): void {
  language = next
  try {
    localStorage.setItem(KEPT_AS, next)
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
  for (const listener of listeners) listener()
}

function chosen(): Language {
  const wanted = [kept(), ...navigator.languages]
  for (const tag of wanted) {
    const found = LANGUAGES.find((one) => tag?.toLowerCase().split('-')[0] === one)
    if (found) return found
  }
  return 'en'
}

function kept(): string | null {
  try {
    return localStorage.getItem(KEPT_AS)
  } catch {
    return null
  }
}

function pluralOf(text: Plural, count: number, language: Language): string {
  const category = new Intl.PluralRules(language).select(count)
  return (category === 'one' || category === 'few' || category === 'many' ? text[category] : undefined) ?? text.other
}
