type Kind =
  | 'text'
  | 'tag-open'
  | 'end-tag-open'
  | 'tag-name'
  | 'before-attribute'
  | 'attribute-name'
  | 'after-attribute-name'
  | 'before-value'
  | 'double-quoted'
  | 'single-quoted'
  | 'unquoted'
  | 'declaration-open'
  | 'declaration'
  | 'comment'
  | 'raw-text'

/** Where in an HTML document a reader is. Plain data, so that branches can be compared. */
export type HtmlState = {
  readonly kind: Kind
  /** The element that is being opened or closed, or whose raw text this is. */
  readonly tag: string
  readonly isClosing: boolean
  readonly attribute: string
  /** The end of what was read, as far as it may begin what ends a comment or raw text. */
  readonly tail: string
}

/** What a reader meets. Offsets count from the start of the piece that is read. */
export type HtmlVisitor = {
  tag?(name: string, isClosing: boolean, offset: number): void
  attribute?(tag: string, name: string, offset: number): void
  /** A value begins and ends, without its quotes; the end may lie in a later piece. */
  valueStart?(tag: string, attribute: string, offset: number): void
  valueEnd?(tag: string, attribute: string, offset: number): void
}

export const AT_START: HtmlState = { kind: 'text', tag: '', isClosing: false, attribute: '', tail: '' }

/** What browsers read up to its end tag, whatever it looks like. In the first two, entities count. */
const RAW_TEXT = new Set(['title', 'textarea', 'style', 'script', 'xmp', 'iframe', 'noembed', 'noframes', 'noscript'])

/**
 * Reads on, by the tokenizer of the HTML standard (13.2.5) as far as it matters for where a value may stand: comments end
 * where browsers end them, an attribute without quotes ends at white space.
 */
export function readHtml(state: HtmlState, piece: string, visitor: HtmlVisitor = {}): HtmlState {
  let { kind, tag, isClosing, attribute, tail } = state

  const endTag = (): void => {
    if (!isClosing && RAW_TEXT.has(tag)) {
      kind = 'raw-text'
      tail = ''
      return
    }
    kind = 'text'
    tag = ''
    attribute = ''
    isClosing = false
  }
  const startValue = (next: Kind, offset: number): void => {
    kind = next
    visitor.valueStart?.(tag, attribute, offset)
  }
  const endValue = (offset: number): void => {
    visitor.valueEnd?.(tag, attribute, offset)
    attribute = ''
    kind = 'before-attribute'
  }
  const startTag = (character: string, closing: boolean): void => {
    kind = 'tag-name'
    tag = character.toLowerCase()
    isClosing = closing
  }
  const endTagName = (offset: number): void => {
    visitor.tag?.(tag, isClosing, offset)
    attribute = ''
    kind = 'before-attribute'
  }
  const endAttributeName = (next: Kind, offset: number): void => {
    visitor.attribute?.(tag, attribute, offset)
    kind = next
  }

  for (let at = 0; at < piece.length; at += 1) {
    if (kind === 'text') {
      at = piece.indexOf('<', at)
      if (at === -1) break
      kind = 'tag-open'
      continue
    }
    const character = piece[at] ?? ''
    const isSpace = SPACE.test(character)

    switch (kind) {
      case 'tag-open':
        if (LETTER.test(character)) startTag(character, false)
        else if (character === '/') kind = 'end-tag-open'
        else if (character === '!') {
          kind = 'declaration-open'
          tail = ''
        } else if (character === '?') kind = 'declaration'
        else {
          kind = 'text'
          at -= 1
        }
        break
      case 'end-tag-open':
        if (LETTER.test(character)) startTag(character, true)
        else kind = character === '>' ? 'text' : 'declaration'
        break
      case 'tag-name':
        if (isSpace || character === '/') endTagName(at)
        else if (character === '>') {
          endTagName(at)
          endTag()
        } else tag += character.toLowerCase()
        break
      case 'before-attribute':
        if (isSpace || character === '/') break
        if (character === '>') endTag()
        else {
          kind = 'attribute-name'
          attribute = character.toLowerCase()
        }
        break
      case 'attribute-name':
        if (isSpace) endAttributeName('after-attribute-name', at)
        else if (character === '/') endAttributeName('before-attribute', at)
        else if (character === '=') endAttributeName('before-value', at)
        else if (character === '>') {
          endAttributeName('before-attribute', at)
          endTag()
        } else attribute += character.toLowerCase()
        break
      case 'after-attribute-name':
        if (isSpace) break
        if (character === '=') kind = 'before-value'
        else if (character === '/') kind = 'before-attribute'
        else if (character === '>') endTag()
        else {
          kind = 'attribute-name'
          attribute = character.toLowerCase()
        }
        break
      case 'before-value':
        if (isSpace) break
        if (character === '"') startValue('double-quoted', at + 1)
        else if (character === "'") startValue('single-quoted', at + 1)
        else if (character === '>') endTag()
        else startValue('unquoted', at)
        break
      case 'double-quoted':
        if (character === '"') endValue(at)
        break
      case 'single-quoted':
        if (character === "'") endValue(at)
        break
      case 'unquoted':
        if (isSpace) endValue(at)
        else if (character === '>') {
          endValue(at)
          endTag()
        }
        break
      case 'declaration-open':
        tail += character
        if (tail === '--') kind = 'comment'
        else if (tail !== '-') {
          kind = 'declaration'
          at -= 1
        }
        break
      case 'declaration':
        if (character === '>') kind = 'text'
        break
      case 'comment':
        if (character === '>' && (tail.endsWith('--') || tail.endsWith('--!'))) kind = 'text'
        tail = /(?:--!?|-)$/.exec(tail + character)?.[0] ?? ''
        break
      case 'raw-text':
        if ((isSpace || character === '/' || character === '>') && tail === `</${tag}`) {
          isClosing = true
          endTagName(at)
          if (character === '>') endTag()
        }
        tail = beginning(tail + character.toLowerCase(), `</${tag}`)
        break
    }
  }
  return { kind, tag, isClosing, attribute, tail }
}

/** The longest end of `text` that `word` begins with: all that can still become the word. */
function beginning(text: string, word: string): string {
  for (let start = Math.max(0, text.length - word.length); start < text.length; start += 1) {
    if (word.startsWith(text.slice(start))) return text.slice(start)
  }
  return ''
}

const LETTER = /[a-z]/i
const SPACE = /[\t\n\f\r ]/

/** True when whatever follows is read the same way from both. */
export const isSamePlace = (a: HtmlState, b: HtmlState): boolean =>
  a.kind === b.kind &&
  a.tag === b.tag &&
  a.isClosing === b.isClosing &&
  a.attribute === b.attribute &&
  (TAILED.has(a.kind) ? a.tail === b.tail : true)

const TAILED: ReadonlySet<Kind> = new Set(['comment', 'raw-text', 'declaration-open'])
