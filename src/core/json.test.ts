import { expect, suite, test } from 'vitest'
import { canonicalJson, type Json } from './json.ts'

suite('the canonical text of a value', () => {
  test.each<[string, Json, string]>([
    [
      'has the keys of every object in order',
      { b: [{ d: 1, c: null }], a: { f: 'x', e: true } },
      '{"a":{"e":true,"f":"x"},"b":[{"c":null,"d":1}]}',
    ],
    ['keeps the order of a list', [3, 1, 2], '[3,1,2]'],
    ['of nothing is nothing', { b: {}, a: [] }, '{"a":[],"b":{}}'],
    [
      'is that of JSON',
      { 'с "ключом"': 'две\nстроки', z: 1e21, n: -0 },
      '{"n":0,"z":1e+21,"с \\"ключом\\"":"две\\nстроки"}',
    ],
    // Objects keep these in an order of their own, and fingerprints of earlier versions must still be found.
    [
      'has numbers as keys in the order of texts',
      { 9: 'a', 10: 'b', b: { 2: 1, 11: 2, '-': 3, '': 4 } },
      '{"10":"b","9":"a","b":{"":4,"-":3,"11":2,"2":1}}',
    ],
    [
      'has keys that objects treat alike',
      JSON.parse('{"b":1,"__proto__":{"a":2}}') as Json,
      '{"__proto__":{"a":2},"b":1}',
    ],
  ])('%s', (_, value, text) => {
    const written = canonicalJson(value)

    expect(written).toBe(text)
  })
})
