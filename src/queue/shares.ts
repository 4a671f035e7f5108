/** How much somebody got already. Time stands still for those who have nothing. */
export type Company = { time: number }

/** Work of a company, or of one of its campaigns. */
export type Flow = {
  company: Company
  time: number
  /** It had more than it could get. */
  isDeep: boolean
  /** Nothing came of it for a while. */
  isQuiet: boolean
}

/** `of` null: those who are not known yet. */
export type Share<One> = { of: One | null; quota: number }

/**
 * Who gets how much of a claim, in the order in which they are served: who got least is first. Companies share equally,
 * however many campaigns each of them has, and so do the campaigns within each company. Those who seldom have anything
 * come on top: what they leave goes to the last of those who always do, and if they take it, he is first the next time.
 * Their times are raised to those of the others, in what is given: nobody saves up what he did not need.
 */
export function shares<One extends Flow>(flows: readonly One[], newcomers: Company, limit: number): Share<One>[] {
  const companies = [...Map.groupBy(flows, ({ company }) => company)]
  const groups = companies.map(([company, its]) => ({
    time: company.time,
    company,
    flows: its,
    isDeep: its.some(({ isDeep }) => isDeep),
    isQuiet: its.every(({ isQuiet }) => isQuiet),
  }))
  const least = Math.min(...groups.filter(({ isDeep }) => isDeep).map(({ time }) => time))
  if (Number.isFinite(least)) {
    for (const group of groups) if (!group.isDeep) group.time = group.company.time = Math.max(group.time, least)
    newcomers.time = Math.max(newcomers.time, least)
  }
  const all = [...groups, { time: newcomers.time, flows: null, isDeep: false, isQuiet: false }]
  const [first, late]: [Share<One>[], Share<One>[]] = [[], []]
  for (const { of: group, quota, isLate } of divide(all, limit, limit)) {
    if (group.flows === null) first.push({ of: null, quota })
    else {
      for (const one of divide(group.flows, quota, quota === limit ? limit : 0)) {
        if (isLate || one.isLate) late.push({ of: one.of, quota: limit })
        else first.push({ of: one.of, quota: one.quota })
      }
    }
  }
  return [...first, ...late]
}

/**
 * `rest`: what the last of those who have more may get at least. Where there are more of them than there is room for, those
 * who got most come late: when nobody else has anything.
 */
function divide<One extends Pick<Flow, 'time' | 'isDeep' | 'isQuiet'>>(
  all: readonly One[],
  quota: number,
  rest: number,
): { of: One; quota: number; isLate: boolean }[] {
  const deep = all.filter(({ isDeep }) => isDeep).length
  const busy = all.filter(({ isDeep, isQuiet }) => isDeep || !isQuiet).length
  const [ofDeep, ofOthers] = [deep, busy].map((count) => Math.max(1, Math.floor(quota / Math.max(1, count)))) as [
    number,
    number,
  ]
  const inTurn = all.toSorted((a, b) => a.time - b.time || Number(a.isDeep) - Number(b.isDeep))
  let served = 0
  return inTurn.map((one) => {
    if (!one.isDeep) return { of: one, quota: deep === 0 ? quota : ofOthers, isLate: false }
    served += 1
    const its = ofDeep + (served <= quota - ofDeep * deep ? 1 : 0)
    return { of: one, quota: served === deep ? Math.max(rest, its) : its, isLate: served > quota }
  })
}
