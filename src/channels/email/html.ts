import type { Cta } from '../../core/event.ts'

/**
 * A whole page around a body, with what screen readers need: language, direction and title. A body that is a page
 * already stays as it is.
 */
export function htmlPage({ title, locale, body }: { title: string; locale: string; body: string }): string {
  if (/<html[\s>]/i.test(body)) return body
  return `<!doctype html>
<html lang="${escapeHtml(locale)}" dir="${directionOf(locale)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
</head>
<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif">
${body}
</body>
</html>
`
}

/** An event's own text as HTML: its title, its paragraphs, and its one link. */
export function paragraphs(title: string, body: string, link: Cta | null): string {
  const parts = body.split(/\n{2,}/).filter((part) => part.trim() !== '')
  return [
    `<h1 style="font-size:20px;margin:0 0 16px" dir="auto">${escapeHtml(title)}</h1>`,
    ...parts.map((part) => `<p dir="auto">${escapeHtml(part).replaceAll('\n', '<br>\n')}</p>`),
    ...(link ? [`<p><a href="${escapeHtml(link.url)}">${escapeHtml(link.label)}</a></p>`] : []),
  ].join('\n')
}

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? '')

/** Languages written from right to left. */
const directionOf = (locale: string): 'ltr' | 'rtl' =>
  /^(ar|dv|fa|he|ku|ps|sd|ug|ur|yi)\b/i.test(locale) ? 'rtl' : 'ltr'
