import { filters, Liquid } from 'liquidjs'
import { expect, suite, test } from 'vitest'
import { templateEngine } from './engine.ts'

const engine = templateEngine('html')

suite('the language of templates', () => {
  test('has these filters of LiquidJS and no others, whatever the next version brings', () => {
    const allowed = Object.keys(filters).filter(
      (name) => !engine.faults(`{{ "x" | ${name} }}`).join().includes('undefined filter'),
    )

    expect(allowed.toSorted().join(' ')).toBe(
      'abs append at_least at_most capitalize ceil compact concat date default divided_by downcase escape first floor ' +
        'join last lstrip map minus modulo newline_to_br plus prepend remove remove_first replace replace_first reverse ' +
        'round rstrip size slice sort sort_natural split strip strip_newlines sum times truncate truncatewords uniq ' +
        'upcase url_encode where',
    )
  })

  test('has these tags of LiquidJS and no others', () => {
    const allowed = Object.keys(new Liquid().tags).filter(
      (name) => !engine.faults(`{% ${name} %}`).join().includes('not found'),
    )

    expect(allowed.toSorted().join(' ')).toBe('# assign break capture case comment continue for if unless')
  })

  test('reaches nothing but what a message has', () => {
    const recipient = { locale: 'en', timeZone: 'UTC' }
    const data = JSON.parse('{"__proto__": {"x": 1}, "list": [1], "text": "abc"}')
    const read = (path: string): string => engine.render(`{{ ${path} | default: "nothing" }}`, { data }, recipient)

    const paths = [
      'data.constructor',
      'data["constructor"]["constructor"]',
      'data.toString',
      'data.hasOwnProperty',
      'data.list.constructor',
      'data.list.push',
      'data.text.constructor',
      'data.text.length.constructor',
      'user.__proto__',
    ]

    expect(paths.map(read)).toEqual(paths.map(() => 'nothing'))
    expect([read('data.list.first'), read('data.text.size')]).toEqual(['1', '3'])
  })

  test('stops a message in the middle that grows without end', () => {
    const endless = '{% for a in (1..9000) %}{% for b in (1..90) %}0123456789{% endfor %}{% endfor %}'
    const startedAt = performance.now()

    expect(() => engine.render(endless, {}, { locale: 'en', timeZone: 'UTC' })).toThrow('larger than 256 KB')
    expect(performance.now() - startedAt).toBeLessThan(200)
  })
})
