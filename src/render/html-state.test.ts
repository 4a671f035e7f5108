import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { templateEngine } from './engine.ts'
import { AT_START, isSamePlace, readHtml } from './html-state.ts'

const END = '|'

const PIECES = (
  `<¦>¦</p>¦<p¦ title=¦"¦'¦=¦ href="¦<!--¦-->¦<title>¦</title>¦</ti¦tle>¦<style>¦</style>¦ ¦a¦/¦<p title="{{ data.x }}">¦` +
  '<a href="/{{ data.x }}">¦{{ data.x }}¦{% if data.a %}¦{% else %}¦{% endif %}¦{% for i in data.list %}¦{% endfor %}¦' +
  '{% break %}¦{% case data.a %}{% when 1 %}¦{% endcase %}'
).split('¦')

/** Where a reader is after the HTML, in few words. */
function placeAfter(html: string): string {
  const { kind, tag, attribute } = readHtml(AT_START, html)
  return [kind, tag, attribute].filter((part) => part !== '').join(' ')
}

/** All that a reader meets, whatever is written in texts and values. */
function skeleton(html: string): string[] {
  const met: string[] = []
  readHtml(AT_START, html, {
    tag: (name, isClosing) => met.push(isClosing ? `/${name}` : name),
    attribute: (tag, name) => met.push(`${tag} ${name}`),
  })
  return met
}

suite('a reader of HTML', () => {
  test.each([
    ['a < b', 'text'],
    ['a <', 'tag-open'],
    ['<p', 'tag-name p'],
    ['<p ', 'before-attribute p'],
    ['<P TITLE', 'attribute-name p title'],
    ['<p title =', 'before-value p title'],
    ['<p title="a>b', 'double-quoted p title'],
    ["<p title='", 'single-quoted p title'],
    ['<p title=a', 'unquoted p title'],
    ['<p title="a"b', 'attribute-name p b'],
    ['<br/>', 'text'],
    ['<p title>', 'text'],
    ['</p title="', 'double-quoted p title'],
    ['<!-- > ', 'comment'],
    ['<!-- -->', 'text'],
    ['<!-- --!>', 'text'],
    ['<!-->', 'text'],
    ['<!--->', 'text'],
    ['<!-- <p title="', 'comment'],
    ['<!doctype html>', 'text'],
    ['<![CDATA[ > ', 'text'],
    ['<?php ', 'declaration'],
    ['</ >', 'text'],
    ['<style> <p title="', 'raw-text style'],
    ['<style></STYLE ', 'before-attribute style'],
    ['<style></styles>', 'raw-text style'],
    ['<title><!--</title>', 'text'],
    ['<script>"</script', 'raw-text script'],
  ])('is, after %j, in %s', (html, place) => {
    expect(placeAfter(html)).toBe(place)
  })

  test('comes to the same place however the HTML is cut into pieces', () => {
    const piece = fc.constantFrom(
      '<',
      '>',
      '/',
      '!',
      '--',
      '-',
      '"',
      "'",
      '=',
      ' ',
      'p',
      'style',
      '</style',
      'title',
      '\n',
    )

    fc.assert(
      fc.property(fc.array(piece), fc.nat(), (pieces, where) => {
        const html = pieces.join('')
        const cut = where % (html.length + 1)

        const inOne = readHtml(AT_START, html + END)
        const inTwo = readHtml(readHtml(AT_START, html.slice(0, cut)), html.slice(cut) + END)

        expect(isSamePlace(inOne, inTwo)).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })

  test('meets the same tags in an accepted template whatever its values are', () => {
    const engine = templateEngine('html')
    const recipient = { locale: 'en', timeZone: 'UTC' }
    const piece = fc.constantFrom(...PIECES)
    let accepted = 0

    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), fc.boolean(), (pieces, a) => {
        const source = pieces.join('')
        if (!source.includes('{{') || engine.faults(source).length > 0) return
        accepted += 1
        const rendered = (x: string): string =>
          engine.render(source, { data: { x, a: a ? 1 : false, list: [1, 2] } }, recipient)

        const hostile = rendered(`tle "'></style></title>--><img src=x onerror=alert(1)> onload=1 `)

        expect(skeleton(hostile)).toEqual(skeleton(rendered('x')))
      }),
      { numRuns: 8_000 },
    )
    expect(accepted).toBeGreaterThan(200)
  })
})
