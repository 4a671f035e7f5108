import { safeUrl } from '../core/safe-url.ts'

/** Attributes whose value is an address. */
const URL_ATTRIBUTES = new Set(['href', 'src', 'background', 'cite', 'longdesc', 'poster', 'action', 'xlink:href'])

/** Attributes in which a variable is only text. Not among them: `style` (CSS), `content` (of meta), `srcset`, `on…`. */
const TEXT_ATTRIBUTES = new Set(
  (
    'abbr align alt axis bgcolor border cellpadding cellspacing class color colspan coords datetime dir headers height ' +
    'hreflang hspace id lang name role rowspan scope span summary title valign value vspace width'
  ).split(' '),
)

/** Mail programs drop them, and a preview must not run them. */
const REFUSED_TAGS = new Set(
  (
    'applet base button embed fieldset form frame frameset iframe input math noembed noframes noscript object option ' +
    'plaintext portal script select svg template textarea xmp'
  ).split(' '),
)

export const isUrlAttribute = (name: string): boolean => URL_ATTRIBUTES.has(name)

export const mayHoldVariables = (name: string): boolean =>
  URL_ATTRIBUTES.has(name) || TEXT_ATTRIBUTES.has(name) || /^(?:aria|data)-[a-z-]+$/.test(name)

export const isRefusedTag = (name: string): boolean => REFUSED_TAGS.has(name)

export const isRefusedAttribute = (name: string): boolean =>
  name.startsWith('on') || name === 'srcdoc' || name === 'formaction' || name === 'ping'

/** The address that may stand in a template's HTML: `safeUrl`, a place in the same document, or an image of the mail. */
export function templateUrl(text: string): string | null {
  if (/^#[\w-]*$/.test(text)) return text
  if (/^cid:[\w.@-]+$/.test(text)) return text
  return safeUrl(text)
}
