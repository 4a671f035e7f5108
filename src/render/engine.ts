import type { Template } from 'liquidjs'
import { AssignTag, Context, Liquid, Output } from 'liquidjs'
import { outputEscape, setRecipient, toText, useFilters, type Recipient } from './filters.ts'
import { htmlFaults } from './html-check.ts'
import { MAX_OUTPUT_BYTES, TOO_LARGE, TOO_MUCH_MEMORY, TOO_SLOW } from './limits.ts'
import { missingPluralForms } from './local-formats.ts'
import { TemplateError, type TemplateVariables } from './renderer.ts'
import { withSafeLinks } from './safe-links.ts'

export type Format = 'html' | 'text'

/** The second wall: LiquidJS calls its own limits cooperative, so the first one is the thread's. */
const PARSE_LIMIT_CHARACTERS = 100_000
const MEMORY_LIMIT_UNITS = 1_000_000
const RENDER_LIMIT_MS = 1000
/** Of template sources that stay parsed. */
const MAX_CACHED_CHARACTERS = 1_000_000

/** Not among them: everything that loads templates, `tablerow`, and tags that write without escaping. */
export const TAGS = ['assign', 'break', 'capture', 'case', 'comment', 'continue', 'for', 'if', 'unless', '#'] as const
export const VARIABLES = ['user', 'event', 'data', 'links', 'ad'] as const

export type Engine = {
  render(source: string, variables: Partial<TemplateVariables>, recipient: Recipient): string
  /** With a locale, also what that language asks for. */
  faults(source: string, locale?: string): string[]
}

/** Liquid with what messages need and nothing else. It trusts nobody, but it must be run where it can be stopped. */
export function templateEngine(format: Format): Engine {
  const engine = new Liquid({
    ownPropertyOnly: true,
    strictVariables: true,
    strictFilters: true,
    lenientIf: true,
    templates: {},
    outputEscape: outputEscape(format),
    parseLimit: PARSE_LIMIT_CHARACTERS,
    memoryLimit: MEMORY_LIMIT_UNITS,
    renderLimit: RENDER_LIMIT_MS,
  })
  for (const name of Object.keys(engine.tags)) {
    if (!(TAGS as readonly string[]).includes(name)) delete engine.tags[name]
  }
  useFilters(engine, format)

  const compiled = new Map<string, Compiled>()
  let characters = 0

  const compile = (source: string): Compiled => {
    const known = compiled.get(source)
    if (known) return known
    const fresh = compileWith(engine, format, source)
    characters += source.length
    if (characters > MAX_CACHED_CHARACTERS) {
      compiled.clear()
      characters = source.length
    }
    compiled.set(source, fresh)
    return fresh
  }

  return {
    render(source, variables, recipient) {
      const { templates, faults } = compile(source)
      // Stored templates were checked when they were saved, perhaps by older rules than these.
      if (faults[0] !== undefined) throw new TemplateError('invalid', faults[0])
      const context = new Context({ ...variables }, engine.options, { sync: true }, { liquid: engine })
      setRecipient(context, recipient)
      try {
        const output = boundedOutput()
        drain(engine.renderer.renderTemplates([...templates], context, output))
        return format === 'html' ? withSafeLinks(output.buffer) : output.buffer
      } catch (error) {
        throw asTemplateError(error)
      }
    },
    faults(source, locale) {
      const { templates, faults } = compile(source)
      return locale === undefined ? faults : [...faults, ...pluralFaults(templates, locale)]
    },
  }
}

type Compiled = { templates: readonly Template[]; faults: string[] }

function compileWith(engine: Liquid, format: Format, source: string): Compiled {
  try {
    const templates = engine.parse(source)
    const unknown = unknownVariables(engine, templates)
    return { templates, faults: [...unknown, ...(format === 'html' ? htmlFaults(templates) : [])] }
  } catch (error) {
    return { templates: [], faults: [asTemplateError(error).message] }
  }
}

/** Names that no template ever gets; what is inside `data` only the event knows. */
const unknownVariables = (engine: Liquid, templates: Template[]): string[] =>
  Object.entries(engine.analyzeSync(templates, { partials: false }).globals).flatMap(([name, uses]) => {
    if ((VARIABLES as readonly string[]).includes(name)) return []
    return [
      `line ${uses[0]?.location.row ?? 1}: unknown variable ${name.slice(0, 100)}; known: ${VARIABLES.join(', ')}`,
    ]
  })

function pluralFaults(templates: readonly Template[], locale: string): string[] {
  return templates.flatMap((template) => {
    const filters = template instanceof Output || template instanceof AssignTag ? valueOf(template).filters : []
    const own = filters.flatMap(({ name, args }) => {
      const missing = name === 'plural' ? missingPluralForms(args, locale) : []
      const [line] = template.token.getPosition()
      return missing.length > 0 ? [`line ${line}: plural lacks the forms ${missing.join(', ')} of ${locale}`] : []
    })
    const inner = template.children ? drain<Template[]>(template.children(false, true)) : []
    return [...own, ...pluralFaults(inner, locale)]
  })
}

const valueOf = (template: Output | AssignTag): Output['value'] =>
  (template as unknown as { value: Output['value'] }).value

/** Runs a generator of the engine to its end; like `toValueSync` of LiquidJS. */
function drain<Result>(generator: Generator<unknown, Result> | IterableIterator<unknown>): Result {
  let input: unknown
  let method: 'next' | 'throw' = 'next'
  for (;;) {
    const step = (generator as Iterator<unknown, Result, unknown>)[method]?.(input)
    if (!step) throw new Error('The engine has stopped')
    if (step.done) return step.value
    method = 'next'
    input = step.value
    if (!isIterator(step.value)) continue
    try {
      input = drain(step.value)
    } catch (error) {
      method = 'throw'
      input = error
    }
  }
}

const isIterator = (value: unknown): value is IterableIterator<unknown> =>
  typeof value === 'object' && value !== null && 'next' in value && 'throw' in value && typeof value.next === 'function'

/** Collects what is rendered, and stops a rendering that has no end in the middle. */
function boundedOutput(): { buffer: string; write(value: unknown): void } {
  return {
    buffer: '',
    write(value) {
      this.buffer += toText(value)
      if (this.buffer.length > MAX_OUTPUT_BYTES) throw new TemplateError('too-large', TOO_LARGE)
    },
  }
}

const MAX_MESSAGE_LENGTH = 300

/** The engine's errors in our words. They hold names from the template, never values. */
function asTemplateError(error: unknown): TemplateError {
  const cause = error instanceof Error && 'originalError' in error ? error.originalError : error
  if (cause instanceof TemplateError) return cause
  if (cause instanceof RangeError)
    return new TemplateError('invalid', 'the template is nested too deeply, or a number is too large')
  const message = error instanceof Error ? error.message : 'the template cannot be used'
  const line = /, line:(\d+), col:\d+$/.exec(message)
  const text = `${line ? `line ${line[1]}: ` : ''}${message.slice(0, line?.index).slice(0, MAX_MESSAGE_LENGTH)}`

  if (/limit exceeded/.test(message)) {
    const code = message.includes('render limit') ? 'timeout' : 'too-large'
    return new TemplateError(code, code === 'timeout' ? TOO_SLOW : TOO_MUCH_MEMORY)
  }
  if (/undefined variable: /.test(message)) {
    return new TemplateError('missing-variable', text.replace('undefined variable: ', 'missing variable '))
  }
  return new TemplateError('invalid', text)
}
