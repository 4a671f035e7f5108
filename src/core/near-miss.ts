/**
 * The known name that a name was probably meant to be, or null. Names are mistyped by one or two letters; in short names
 * two letters are too many (HOME is not a mistyped HOST).
 */
export function nearMiss(name: string, known: readonly string[]): string | null {
  if (known.includes(name)) return null
  const near = known
    .filter((candidate) => Math.abs(candidate.length - name.length) <= 2)
    .map((candidate) => ({ candidate, edits: editDistance(name, candidate) }))
    .filter(({ candidate, edits }) => edits <= (Math.min(candidate.length, name.length) < 9 ? 1 : 2))
    .sort((a, b) => a.edits - b.edits)
  return near[0]?.candidate ?? null
}

/** Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      const edits = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + cost)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row.push(isSwap ? Math.min(edits, at(beforeLast, j - 2) + 1) : edits)
    }
    beforeLast = last
    last = row
  }
  return at(last, b.length)
}

const at = (row: readonly number[], index: number): number => row[index] ?? Infinity
