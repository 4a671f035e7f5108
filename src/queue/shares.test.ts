import { expect, suite, test } from 'vitest'
import { shares, type Company, type Flow } from './shares.ts'

type Named = Flow & { name: string }

const company = (time = 0): Company => ({ time })
const flow = (name: string, of: Company, { time = 0, isDeep = true, isQuiet = false } = {}): Named => ({
  name,
  company: of,
  time,
  isDeep,
  isQuiet,
})
const named = (flows: Named[], limit: number, newcomers = company()) =>
  shares(flows, newcomers, limit).map(({ of, quota }) => [of?.name ?? 'newcomers', quota])

suite('the shares of a claim', () => {
  test('are all for one who is alone, after a look for newcomers', () => {
    expect(named([flow('a', company(500))], 50)).toEqual([
      ['newcomers', 25],
      ['a', 50],
    ])
  })

  test('are equal, and whoever got least is first', () => {
    const [a, b, c] = [company(300), company(100), company(200)]

    expect(named([flow('a', a), flow('b', b), flow('c', c)], 40, company(150))).toEqual([
      ['b', 14],
      ['newcomers', 10],
      ['c', 13],
      ['a', 40],
    ])
  })

  test('of a company are divided among its campaigns, and do not grow with their number', () => {
    const [one, many] = [company(100), company(90)]
    const flows = [1, 2, 3].map((n) => flow(`campaign ${n}`, many, { time: n }))

    expect(named([flow('one', one), ...flows], 30, company(200))).toEqual([
      ['campaign 1', 5],
      ['campaign 2', 5],
      ['campaign 3', 5],
      ['one', 30],
      ['newcomers', 10],
    ])
  })

  test('smaller than the number of campaigns go to those that got least, and to the others when nobody else has anything', () => {
    const [one, many] = [company(100), company(90)]
    const flows = [3, 1, 2].map((n) => flow(`campaign ${n}`, many, { time: n }))

    expect(named([flow('one', one), ...flows], 4, company(200))).toEqual([
      ['campaign 1', 1],
      ['campaign 2', 1],
      ['one', 4],
      ['newcomers', 1],
      ['campaign 3', 4],
    ])
  })

  test('are not saved up by those who had nothing', () => {
    const [busy, idle, newcomers] = [company(1000), company(3), company(7)]

    named([flow('busy', busy), flow('idle', idle, { isDeep: false })], 50, newcomers)

    expect([idle.time, newcomers.time]).toEqual([1000, 1000])
  })

  test('are not kept for those who have been quiet', () => {
    const [a, b, quiet] = [company(100), company(100), company(100)]

    const quotas = named([flow('a', a), flow('b', b), flow('quiet', quiet, { isDeep: false, isQuiet: true })], 30)

    expect(quotas).toEqual([
      ['quiet', 10],
      ['newcomers', 10],
      ['a', 15],
      ['b', 30],
    ])
  })
})
