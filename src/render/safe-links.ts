import { isUrlAttribute, templateUrl } from './html-policy.ts'
import { AT_START, readHtml } from './html-state.ts'
import { escapeHtml, unescapeHtml } from './text.ts'

/**
 * The same HTML in which every address is one that may be put before people; the others lead nowhere (`#`). It runs on
 * what was rendered, so it does not matter how the parts of an address came together.
 */
export function withSafeLinks(html: string): string {
  let result = ''
  let copied = 0
  let start = 0
  readHtml(AT_START, html, {
    valueStart: (_tag, _attribute, offset) => {
      start = offset
    },
    valueEnd: (_tag, attribute, offset) => {
      if (!isUrlAttribute(attribute)) return
      const url = templateUrl(unescapeHtml(html.slice(start, offset)).trim())
      result += html.slice(copied, start) + escapeHtml(url ?? '#')
      copied = offset
    },
  })
  return result + html.slice(copied)
}
