import type { RenderAnswer } from './render-worker.ts'
import { TemplateError, type Renderer, type TemplateFault, type TemplateSource } from './renderer.ts'
import { workerPool, type PoolOptions } from './worker-pool.ts'

const MAX_TEMPLATE_BYTES = 100 * 1024
const MAX_VARIABLES_BYTES = 64 * 1024

const DEFAULTS: PoolOptions = { size: 2, maxWaiting: 1000, limitMs: 200, idleSeconds: 20, memoryMb: 64 }

/**
 * Renders Liquid where it can do no harm: in a thread of its own that has no secrets, little memory and 200 ms. The
 * limits of the engine itself are only the second wall: several ways around them were found in 2026 alone.
 */
export function liquidRenderer(options: Partial<PoolOptions> = {}): Renderer {
  const pool = workerPool({ ...DEFAULTS, ...options })

  return {
    async render(source, bodyFormat, variables, locale) {
      const [oversize] = sizeFaults(source)
      if (oversize) throw new TemplateError('too-large', `${oversize.field} ${oversize.message}`)
      const json = JSON.stringify(variables)
      if (Buffer.byteLength(json) > MAX_VARIABLES_BYTES) {
        throw new TemplateError('too-large', `the variables are larger than ${MAX_VARIABLES_BYTES / 1024} KB`)
      }
      const answer = await pool.run({
        do: 'render',
        source: plain(source),
        format: bodyFormat,
        variables: json,
        locale,
      })
      if ('rendered' in answer) return answer.rendered
      throw errorOf(answer)
    },

    async faults(source, bodyFormat, locale) {
      const oversize = sizeFaults(source)
      if (oversize.length > 0) return oversize
      try {
        const answer = await pool.run({ do: 'faults', source: plain(source), format: bodyFormat, locale })
        if ('faults' in answer) return answer.faults
        throw errorOf(answer)
      } catch (error) {
        if (!(error instanceof TemplateError)) throw error
        return [{ field: 'body', message: error.message }]
      }
    },

    close: () => pool.close(),
  }
}

const sizeFaults = ({ subject, body }: TemplateSource): TemplateFault[] =>
  Object.entries({ subject, body }).flatMap(([field, text]) =>
    Buffer.byteLength(text) > MAX_TEMPLATE_BYTES
      ? [{ field: field as 'subject' | 'body', message: `is larger than ${MAX_TEMPLATE_BYTES / 1024} KB` }]
      : [],
  )

/** Only what a message between threads needs. */
const plain = ({ subject, body }: TemplateSource): TemplateSource => ({ subject, body })

function errorOf(answer: RenderAnswer): TemplateError {
  if ('error' in answer) return new TemplateError(answer.error.code, answer.error.message)
  throw new Error('The template engine has answered something else')
}
