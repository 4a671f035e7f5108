const MAX_LENGTH = 300

/**
 * A server's words made fit for the attempts log: one line, short, without the recipient's address or any other, which
 * servers like to quote, whole or without the domain.
 */
export function scrub(text: string, address: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Bidi_Control}\s]+/gu, ' ').slice(0, MAX_LENGTH * 10)
  const localPart = address.slice(0, address.indexOf('@'))
  return line
    .replaceAll(/[^\s<>()[\]"',;:]+(?:@|=40|%40)[^\s<>()[\]"',;:]+/giu, '…')
    .replaceAll(wordPattern(localPart), '…')
    .trim()
    .slice(0, MAX_LENGTH)
}

/** The part before the `@` where it stands alone. One letter is no name. */
const wordPattern = (word: string): RegExp =>
  word.length < 2 ? /(?!)/g : new RegExp(`(?<![\\w.-])${RegExp.escape(word)}(?![\\w-])`, 'giu')
