/** A repetition is written out, so that `{1000}` inside `{1000}` must not fill the memory. */
const MAX_INSTRUCTIONS = 1000
/** Longer texts match nothing: the work is text × pattern, and a pattern is meant for ids and codes. */
const MAX_TEXT_LENGTH = 10_000
const MAX_PATTERN_LENGTH = 500

/**
 * A regular expression of somebody else, matched in time that grows with the length of the text and never explodes: all
 * alternatives are followed at once instead of one after another. The syntax is that of JSON Schema (ECMA-262, flag u)
 * without look-around, back references and word boundaries. Throws an `Error` that says what is wrong.
 */
export function safePattern(source: string): { test: (text: string) => boolean } {
  if (source.length > MAX_PATTERN_LENGTH) throw new Error(`is longer than ${MAX_PATTERN_LENGTH} characters`)
  if (!isExpression(source)) throw new Error('is not a regular expression (ECMA-262 with flag u)')
  const program = emit(parse(source))
  return { test: (text) => text.length <= MAX_TEXT_LENGTH && matches(program, text) }
}

type Node =
  | { kind: 'character'; fits: Fits }
  | { kind: 'sequence'; nodes: Node[] }
  | { kind: 'choice'; nodes: Node[] }
  | { kind: 'repeat'; node: Node; from: number; to: number }
  | { kind: 'start' }
  | { kind: 'end' }

function isExpression(source: string): boolean {
  try {
    return new RegExp(source, 'u').unicode
  } catch {
    return false
  }
}

type Fits = (character: string) => boolean

/** `source` is valid already, so only what we refuse needs a message. */
function parse(source: string): Node {
  let at = 0

  const choice = (): Node => {
    const nodes = [sequence()]
    while (source[at] === '|') {
      at += 1
      nodes.push(sequence())
    }
    return nodes.length === 1 && nodes[0] ? nodes[0] : { kind: 'choice', nodes }
  }

  const sequence = (): Node => {
    const nodes: Node[] = []
    while (at < source.length && source[at] !== '|' && source[at] !== ')') nodes.push(repeated(atom()))
    return { kind: 'sequence', nodes }
  }

  const repeated = (node: Node): Node => {
    const quantifier = take(/[*+?]\??|\{\d+(?:,\d*)?\}\??/uy)
    if (quantifier === '') return node
    const [from, to] = range(quantifier)
    return { kind: 'repeat', node, from, to }
  }

  const atom = (): Node => {
    if (source[at] === '(') return group()
    if (take(/\^/uy)) return { kind: 'start' }
    if (take(/\$/uy)) return { kind: 'end' }
    if (take(/\\(?:[bB]|[1-9]|k<)/uy))
      throw new Error('uses a back reference or a word boundary, which is not supported')
    const text = take(
      /\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[\dA-Fa-f]{4}(?:\\u[dD][c-fC-F][\dA-Fa-f]{2})?|x[\dA-Fa-f]{2}|c[A-Za-z]|.)|\[(?:\\.|[^\]\\])*\]|./suy,
    )
    return { kind: 'character', fits: characterTest(text) }
  }

  const group = (): Node => {
    if (take(/\(\?(?:<?[=!])/uy)) throw new Error('uses look-around, which is not supported')
    if (!take(/\((?:\?:|\?<[^>]+>)?(?!\?)/uy)) throw new Error('uses a kind of group that is not supported')
    const node = choice()
    at += 1
    return node
  }

  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at
    const text = pattern.exec(source)?.[0] ?? ''
    at += text.length
    return text
  }

  return choice()
}

function range(quantifier: string): [number, number] {
  if (quantifier.startsWith('*')) return [0, Infinity]
  if (quantifier.startsWith('+')) return [1, Infinity]
  if (quantifier.startsWith('?')) return [0, 1]
  const [, from, comma, to] = /^\{(\d+)(,?)(\d*)\}/.exec(quantifier) ?? []
  return [Number(from), comma === '' ? Number(from) : to === '' ? Infinity : Number(to)]
}

/** One character against one character set is the only thing left to the engine; it cannot backtrack there. */
function characterTest(text: string): Fits {
  const pattern = new RegExp(`^${text}$`, 'u')
  const ascii = Array.from({ length: 128 }, (_, code) => pattern.test(String.fromCharCode(code)))
  return (character) => ascii[character.codePointAt(0) ?? 0] ?? pattern.test(character)
}

type Instruction =
  | { do: 'character'; fits: Fits }
  | { do: 'fork'; first: number; second: number }
  | { do: 'start' }
  | { do: 'end' }
  | { do: 'accept' }

function emit(root: Node): Instruction[] {
  const program: Instruction[] = []
  const add = (instruction: Instruction): number => {
    if (program.length >= MAX_INSTRUCTIONS) throw new Error('is too large: fewer or smaller repetitions, please')
    return program.push(instruction) - 1
  }
  const fork = (): { do: 'fork'; first: number; second: number } => {
    const instruction = { do: 'fork' as const, first: 0, second: 0 }
    instruction.first = add(instruction) + 1
    return instruction
  }

  const write = (node: Node): void => {
    if (node.kind === 'character') add({ do: 'character', fits: node.fits })
    else if (node.kind === 'sequence') node.nodes.forEach(write)
    else if (node.kind === 'choice') writeChoice(node.nodes)
    else if (node.kind === 'repeat') writeRepeat(node.node, node.from, node.to)
    else add({ do: node.kind })
  }
  const writeChoice = (nodes: Node[]): void => {
    const exits: { do: 'fork'; first: number; second: number }[] = []
    for (const [index, node] of nodes.entries()) {
      const branch = index < nodes.length - 1 ? fork() : null
      write(node)
      if (!branch) break
      exits.push(fork())
      branch.second = program.length
    }
    for (const exit of exits) exit.first = exit.second = program.length
  }
  const writeRepeat = (node: Node, from: number, to: number): void => {
    for (let count = 0; count < from; count += 1) writeCounted(node)
    if (to === Infinity) {
      const loop = fork()
      const start = loop.first - 1
      write(node)
      add({ do: 'fork', first: start, second: start })
      loop.second = program.length
      return
    }
    const exits: { second: number }[] = []
    for (let count = from; count < to; count += 1) {
      exits.push(fork())
      writeCounted(node)
    }
    for (const exit of exits) exit.second = program.length
  }
  /** A copy that adds nothing would let an endless count of empty groups through. */
  const writeCounted = (node: Node): void => {
    const size = program.length
    write(node)
    if (program.length === size) add({ do: 'fork', first: size + 1, second: size + 1 })
  }

  write(root)
  add({ do: 'accept' })
  return program
}

function matches(program: readonly Instruction[], text: string): boolean {
  const seenAt = new Int32Array(program.length).fill(-1)
  let position = 0
  let isAccepted = false

  /** Follows what needs no character, once per instruction and position. */
  const reach = (start: number, found: number[]): void => {
    const pending = [start]
    for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
      if (seenAt[index] === position) continue
      seenAt[index] = position
      const instruction = program[index]
      if (instruction?.do === 'accept') isAccepted = true
      else if (instruction?.do === 'character') found.push(index)
      else if (instruction?.do === 'fork') pending.push(instruction.second, instruction.first)
      else if (instruction?.do === 'start' ? position === 0 : position === text.length) pending.push(index + 1)
    }
  }

  let current: number[] = []
  reach(0, current)
  for (const character of text) {
    if (isAccepted) return true
    const next: number[] = []
    position += character.length
    for (const index of current) {
      const instruction = program[index]
      if (instruction?.do === 'character' && instruction.fits(character)) reach(index + 1, next)
    }
    reach(0, next)
    current = next
  }
  return isAccepted
}
