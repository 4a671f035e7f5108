import { convert, type HtmlToTextOptions } from 'html-to-text'

/** Mailboxes show about half of it. The time to convert grows with the square of the depth, so length must be bounded. */
const MAX_CONVERTED_LENGTH = 200_000

const heading = { options: { uppercase: false } }

const OPTIONS: HtmlToTextOptions = {
  wordwrap: false,
  // Deeper than any real mail; keeps a hostile template from overflowing the stack.
  limits: { maxDepth: 100 },
  selectors: [
    { selector: 'a', options: { hideLinkHrefIfSameAsText: true, noAnchorUrl: true, linkBrackets: ['<', '>'] } },
    { selector: 'img', format: 'skip' },
    // The line that mail programs show before a mail is opened, and what is only there to be looked at.
    { selector: '[style^="display: none"]', format: 'skip' },
    { selector: '[aria-hidden="true"]', format: 'skip' },
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, ...heading })),
  ],
}

/** What an HTML message says to those who see only text. */
export const plainText = (html: string): string => convert(html.slice(0, MAX_CONVERTED_LENGTH), OPTIONS).trim()
