import { expect } from 'vitest'

/** What the other side did with a message, and whether it said so. */
export const ANSWERS = ['accepted', 'accepted in silence', 'lost in silence', 'busy', 'refused'] as const
export type Answer = (typeof ANSWERS)[number]

/** The world outside: what arrived there, and what people there asked for. */
export type World = ReturnType<typeof newWorld>

export function newWorld() {
  const copies = new Map<string, number>()
  const careful = new Set<string>()
  const sentAgain = new Map<string, number>()

  return {
    /** How often each message arrived. */
    copies,

    arrive(id: string, isHeldInDoubt: boolean): void {
      add(copies, id)
      if (isHeldInDoubt) careful.add(id)
    },

    /** A person asked for it, knowing what he did. */
    sendAgain: (id: string): void => add(sentAgain, id),

    /** What is held in doubt arrives once, and once more for each time that a person asked for it. */
    expectNoneTwice(): void {
      const twice = [...careful].filter((id) => (copies.get(id) ?? 0) > 1 + (sentAgain.get(id) ?? 0))
      expect(twice).toEqual([])
    },
  }
}

const add = (counts: Map<string, number>, id: string): void => void counts.set(id, (counts.get(id) ?? 0) + 1)
