import { expect, test } from 'vitest'
import { columns, visible } from './print.ts'

test('columns are as wide as their longest cell, and lines end where their text ends', () => {
  expect(
    columns([
      ['ID', 'NAME', 'SCOPES'],
      ['12345', 'x', ''],
      ['1', 'shop', 'a b'],
    ]),
  ).toEqual(['ID     NAME  SCOPES', '12345  x', '1      shop  a b'])
})

test('a text that others chose cannot rewrite the terminal', () => {
  expect(visible('a\u001b[2Jb\r\nc\u202ed')).toBe('a\ufffd[2Jb\ufffd\ufffdc\ufffdd')
})
