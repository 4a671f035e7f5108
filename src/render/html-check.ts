import type { Template } from 'liquidjs'
import { BreakTag, CaptureTag, CaseTag, ContinueTag, ForTag, IfTag, Output, TypeGuards, UnlessTag } from 'liquidjs'
import { isRefusedAttribute, isRefusedTag, isUrlAttribute, mayHoldVariables, templateUrl } from './html-policy.ts'
import { AT_START, isSamePlace, readHtml, type HtmlState } from './html-state.ts'
import { unescapeHtml } from './text.ts'

const MAX_FAULTS = 20

/**
 * Why an HTML template may not be used. A variable may stand in text and in quoted attributes that are text or an
 * address: there, and only there, escaping keeps it a value. Every way through the template is followed, so that no
 * combination of branches puts a variable elsewhere.
 */
export function htmlFaults(templates: readonly Template[]): string[] {
  const faults = new Set<string>()
  const end = walk(templates, AT_START, null, faults)
  if (faults.size === 0 && end.kind !== 'text') faults.add('the HTML ends inside a tag, a comment or an attribute')
  return [...faults].slice(0, MAX_FAULTS)
}

/** `loop` is where the innermost loop's body begins, null outside. */
function walk(
  templates: readonly Template[],
  start: HtmlState,
  loop: HtmlState | null,
  faults: Set<string>,
): HtmlState {
  let state = start
  for (const template of templates) {
    const fault = (message: string): unknown => faults.add(`line ${lineOf(template)}: ${message}`)

    if (TypeGuards.isHTMLToken(template.token)) state = readPiece(state, template.token.getContent(), template, faults)
    else if (template instanceof Output) checkPlace(state, fault)
    else if (template instanceof IfTag || template instanceof UnlessTag || template instanceof CaseTag) {
      const bodies = [...template.branches.map((branch) => branch.templates), template.elseTemplates ?? []]
      const ends = bodies.map((body) => walk(body, state, loop, faults))
      const [first = state] = ends
      // More than one branch of a case may be rendered, one after the other.
      const expected = template instanceof CaseTag ? state : first
      if (!ends.every((end) => isSamePlace(end, expected))) {
        fault(`the branches of ${template.name} must end at the same place of the HTML (an else may be missing)`)
      }
      state = first
    } else if (template instanceof ForTag) {
      for (const body of [template.templates, template.elseTemplates]) {
        if (!isSamePlace(walk(body, state, state, faults), state)) {
          fault('the body of a loop must end at the place of the HTML where it began')
        }
      }
    } else if (template instanceof CaptureTag) {
      const end = walk(template.templates, AT_START, null, faults)
      if (!isSamePlace(end, AT_START)) fault('what is captured must be complete HTML')
    } else if (template instanceof BreakTag || template instanceof ContinueTag) {
      if (!loop || !isSamePlace(state, loop)) fault(`${template.name} must stand where the body of the loop begins`)
    }
  }
  return state
}

function checkPlace({ kind, tag, attribute, tail }: HtmlState, fault: (message: string) => unknown): void {
  if (kind === 'text' || (kind === 'raw-text' && tag === 'title' && tail === '')) return
  if (kind === 'double-quoted' || kind === 'single-quoted') {
    if (!mayHoldVariables(attribute)) fault(`a variable may not stand in the attribute ${attribute}`)
    return
  }
  if (kind === 'before-value' || kind === 'unquoted') fault(`put quotes around the value of ${attribute}`)
  else fault('a variable may stand only in text and in quoted attributes')
}

/** Notes also what is refused whether it holds variables or not. */
function readPiece(state: HtmlState, piece: string, template: Template, faults: Set<string>): HtmlState {
  const fault = (offset: number, message: string): unknown =>
    faults.add(`line ${lineOf(template) + piece.slice(0, offset).split('\n').length - 1}: ${message}`)
  let valueStart: number | null = null

  return readHtml(state, piece, {
    tag: (name, _isClosing, offset) => {
      if (isRefusedTag(name)) fault(offset, `<${name}> is not allowed`)
    },
    attribute: (_tag, name, offset) => {
      if (isRefusedAttribute(name)) fault(offset, `the attribute ${name} is not allowed`)
    },
    valueStart: (_tag, _attribute, offset) => {
      valueStart = offset
    },
    valueEnd: (_tag, attribute, offset) => {
      // A value that began in an earlier piece holds a variable; `withSafeLinks` looks at it when it is whole.
      if (valueStart === null) return
      const value = unescapeHtml(piece.slice(valueStart, offset)).trim()
      valueStart = null
      if (isUrlAttribute(attribute) && templateUrl(value) === null) {
        fault(offset, `the ${attribute} must be an http(s), mailto or tel address, a path, or #`)
      }
      if (attribute === 'http-equiv' && /refresh/i.test(value)) fault(offset, 'a refresh is not allowed')
    },
  })
}

const lineOf = ({ token }: Template): number => token.getPosition()[0] ?? 1
