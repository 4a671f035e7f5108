import { expect, suite, test } from 'vitest'
import { unexplainedCopies } from './explain-copies.ts'

const at = (second: number): Date => new Date(1_000_000 + second * 1000)
const mail = (id: string, second: number) => ({ message_id: id, at: at(second).toISOString(), to: '' })

suite('copies', () => {
  test('need no cause where each mail came once', () => {
    expect(unexplainedCopies([mail('a', 1), mail('b', 2)], [])).toEqual([])
  })

  test('are explained by a death between the first and the second, and by no other', () => {
    const received = [mail('a', 100), mail('a', 120)]

    expect(unexplainedCopies(received, [{ at: at(101), atMost: 1 }])).toEqual([])
    expect(unexplainedCopies(received, [{ at: at(80), atMost: 9 }])).toEqual(['a'])
    expect(unexplainedCopies(received, [{ at: at(121), atMost: 9 }])).toEqual(['a'])
  })

  test('are no more than the death had in its hands', () => {
    const received = [mail('a', 100), mail('b', 100), mail('a', 110), mail('b', 111)]

    expect(unexplainedCopies(received, [{ at: at(101), atMost: 2 }])).toEqual([])
    expect(unexplainedCopies(received, [{ at: at(101), atMost: 1 }])).toEqual(['b'])
  })

  test('leave an early death to the copy that has no later one', () => {
    const received = [mail('late', 100), mail('early', 100), mail('early', 110), mail('late', 130)]
    const causes = [
      { at: at(105), atMost: 1 },
      { at: at(120), atMost: 1 },
    ]

    expect(unexplainedCopies(received, causes)).toEqual([])
  })

  test('of one mail need one death each', () => {
    const received = [mail('a', 100), mail('a', 120), mail('a', 140)]

    expect(unexplainedCopies(received, [{ at: at(115), atMost: 9 }])).toEqual(['a'])
    expect(
      unexplainedCopies(received, [
        { at: at(115), atMost: 9 },
        { at: at(135), atMost: 9 },
      ]),
    ).toEqual([])
  })
})
