import { canonicalLocale } from './template-lookup.ts'

/** What the name of a template file says. */
export type TemplateFileName = { channel: string; service: string | null; locale: string }

/** A template file: the lines between `---` at its top, and the rest. */
export type TemplateFile = { head: Record<string, string>; body: string }

/**
 * `email.ru.liquid`, or `email.photo.ru.liquid` for events of the service `photo`; null when the name says something
 * else. `_layout.email.liquid` is the frame of all mails in a folder.
 */
export function templateFileName(name: string): TemplateFileName | null {
  const match = /^([a-z][a-z\d_-]*)(?:\.([\w-]+(?:\.[\w-]+)*))?\.([A-Za-z][\w-]*)\.liquid$/.exec(name)
  const [, channel = '', service = null, language = ''] = match ?? []
  const locale = canonicalLocale(language)
  return match && locale !== null ? { channel, service, locale } : null
}

/** Throws an `Error` that says which line is wrong. */
export function parseTemplateFile(text: string): TemplateFile {
  const lines = text
    .replace(/^\uFEFF/, '')
    .replaceAll('\r\n', '\n')
    .split('\n')
  if (lines[0]?.trim() !== '---') return { head: {}, body: lines.join('\n') }
  const end = lines.findIndex((line, index) => index > 0 && line.trim() === '---')
  if (end === -1) throw new Error('line 1: the head that begins with --- does not end with ---')

  const head: Record<string, string> = {}
  for (const [index, line] of lines.slice(1, end).entries()) {
    if (line.trim() === '') continue
    const [, key, value] = /^([a-z_]+):\s*(.+?)\s*$/.exec(line) ?? []
    if (key === undefined || value === undefined) throw new Error(`line ${index + 2}: expected "name: text"`)
    head[key] = value
  }
  return { head, body: lines.slice(end + 1).join('\n') }
}

/**
 * Puts a template into its frame: `[[ content ]]`, `[[ locale ]]` and the names of its head are replaced. What it was
 * made from is no longer seen in the stored template. Throws an `Error` where the head lacks a name.
 */
export function inLayout(layout: string, { head, body }: TemplateFile, locale: string): string {
  const parts: Record<string, string> = { ...head, content: body.trim(), locale }
  return layout.replace(/\[\[ ([a-z_]+) \]\]/g, (_, name: string) => {
    const part = parts[name]
    if (part === undefined) throw new Error(`the layout needs "${name}: …" in the head of the file`)
    return part
  })
}
