/** Random numbers in [0, 1) that a seed repeats (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Of FAULT_SEED, so that a run can be repeated; printed, so that it is known. */
export function chooseSeed(what: string): number {
  const seed = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 1e9))
  process.stdout.write(`${what}: FAULT_SEED=${seed}\n`)
  return seed
}

export const oneOf = <Item>(random: () => number, items: readonly Item[]): Item =>
  items[Math.floor(random() * items.length)] as Item
