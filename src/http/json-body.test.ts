import fc from 'fast-check'
import { expect, suite, test } from 'vitest'
import { parseJson } from './json-body.ts'

const parse = (text: string) => parseJson(Buffer.from(text))
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

suite('a JSON body', () => {
  test('is read as JSON reads it', () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false, maxDepth: 10 }), (text) => {
        fc.pre(!/\\u0000|__proto__/.test(text))
        expect(parse(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  test.each([
    ['{"a":1,}', /position 7/],
    ['{"name": nope}', /Unexpected token 'o'/],
    ['[1', /end of JSON input|position 2/],
    ['"open', /position 5/],
    ['', /end of JSON input/],
    ['{]}[', /position 1/],
    ['{', /^The body is no JSON: /],
    [nested(100), /nested deeper than 20 levels at position 20/],
    [nested(4_000_000), /nested deeper/],
    [`{"a":${'{"a":'.repeat(30)}1${'}'.repeat(31)}`, /nested deeper/],
    ['{"a":1,"b":{"c":1,"c":2}}', /member "c" twice, again at position 18/],
    ['{"a":1,"\\u0061":2}', /member "a" twice/],
    ['{"__proto__":{}}', /must not have the member "__proto__"/],
    ['{"__proto__":1,"__proto__":2}', /__proto__/],
    ['{"\\u005f_proto__":{}}', /__proto__/],
    ['{"constructor":{"prototype":{}}}', /must not have the member "prototype"/],
    ['{"a":"\\u0000"}', /U\+0000 after position 5/],
    ['{"\\u0000":1}', /U\+0000/],
    ['["\\ud800"]', /half a surrogate pair after position 1/],
    ['["\\udc00\\ud800"]', /half a surrogate pair/],
  ])('of kind %# is refused, saying where', (text, message) => {
    expect(() => parse(text)).toThrow(message)
  })

  test.each([
    ['{"constructor":"of ships","prototype":{"constructor":{}}}'],
    ['["\\ud83d\\ude00", "😀", "\\\\u0000", "\\\\\\"", "a\\"{[,"]'],
    ['[{"a":1},{"a":1},{"a":{"a":[]}}]'],
    [nested(20)],
    ['"\ufffd"'],
  ])('that is odd in the way of %# is fine', (text) => {
    expect(parse(text)).toEqual(JSON.parse(text))
  })

  test('that is not UTF-8 is refused at its first bad byte', () => {
    const body = Buffer.concat([Buffer.from('["\ufffd ж '), Buffer.from([0xc3, 0x28]), Buffer.from('"]')])

    expect(() => parseJson(body)).toThrow('not valid UTF-8 at byte 9')
  })

  test('of 4 MB of quotes and backslashes is checked at once', () => {
    const started = performance.now()

    parse(JSON.stringify('\\"'.repeat(1_000_000)))

    expect(performance.now() - started).toBeLessThan(1000)
  })
})
