import { expect, suite, test } from 'vitest'
import { plainText } from './plain-text.ts'

suite('the text of an HTML message', () => {
  test('says what the message says, with the targets of links', () => {
    const html = '<h1>Ready</h1><p>All <b>rows</b> &amp; more.</p><p><a href="https://example.org/r">Open</a></p>'

    expect(plainText(html)).toBe('Ready\n\nAll rows & more.\n\nOpen <https://example.org/r>')
  })

  test('leaves out what is hidden', () => {
    const html =
      '<div style="display: none; max-height: 0">Preview</div><table><tr><td aria-hidden="true">&nbsp;</td></tr></table><p>Body</p>'

    expect(plainText(html)).toBe('Body')
  })
})
