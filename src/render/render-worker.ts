import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import { templateEngine, type Format } from './engine.ts'
import { MAX_OUTPUT_BYTES, TOO_LARGE } from './limits.ts'
import { begin, progressIn } from './progress.ts'
import { TemplateError, type TemplateFault, type TemplateSource, type TemplateVariables } from './renderer.ts'
import { singleLine } from './text.ts'

/** One thing to do in the cage. `variables` is JSON, so that nothing but plain data gets in. */
export type RenderJob =
  | { do: 'render'; source: TemplateSource; format: Format; variables: string; locale: string }
  | { do: 'faults'; source: TemplateSource; format: Format; locale: string | undefined }

export type RenderAnswer =
  | { rendered: TemplateSource }
  | { faults: TemplateFault[] }
  | { error: { code: TemplateError['code']; message: string } }

/** What the thread says: that it can work, and the answers to the next of the jobs that it was given, in their order. */
export type WorkerMessage = { ready: true } | { answers: RenderAnswer[]; tookMs: number }

const engines = { html: templateEngine('html'), text: templateEngine('text') }

function answerTo(job: RenderJob): RenderAnswer {
  const { source, format } = job
  if (job.do === 'faults') {
    const subject = engines.text.faults(source.subject, job.locale)
    const body = engines[format].faults(source.body, job.locale)
    return {
      faults: [
        ...subject.map((message): TemplateFault => ({ field: 'subject', message })),
        ...body.map((message): TemplateFault => ({ field: 'body', message })),
      ],
    }
  }

  const variables = JSON.parse(job.variables) as TemplateVariables
  const recipient = { locale: job.locale, timeZone: timeZoneOf(variables.user?.time_zone) }
  const rendered = {
    subject: inField('subject', () => singleLine(engines.text.render(source.subject, variables, recipient))),
    body: inField('body', () => engines[format].render(source.body, variables, recipient)),
  }
  const bytes = Buffer.byteLength(rendered.body)
  return bytes > MAX_OUTPUT_BYTES ? { error: { code: 'too-large', message: TOO_LARGE } } : { rendered }
}

function inField(field: string, work: () => string): string {
  try {
    return work()
  } catch (error) {
    throw error instanceof TemplateError ? new TemplateError(error.code, `${field}, ${error.message}`) : error
  }
}

function timeZoneOf(value: unknown): string {
  if (typeof value !== 'string') return 'UTC'
  try {
    return new Intl.DateTimeFormat('en', { timeZone: value }).resolvedOptions().timeZone
  } catch {
    return 'UTC'
  }
}

/** Each message costs; but once the last jobs have taken so long, their answers are said before the next one begins. */
const SAY_AFTER_MS = 2

const progress = progressIn(workerData as SharedArrayBuffer)
const say = (message: WorkerMessage): void => parentPort?.postMessage(message, [])

parentPort?.on('message', (jobs: RenderJob[]) => {
  let answers: RenderAnswer[] = []
  let saidAt = performance.now()
  for (const [number, job] of jobs.entries()) {
    begin(progress, number)
    answers.push(answered(job))
    const tookMs = performance.now() - saidAt
    if (number < jobs.length - 1 && tookMs < SAY_AFTER_MS) continue
    say({ answers, tookMs })
    answers = []
    saidAt = performance.now()
  }
})
say({ ready: true })

function answered(job: RenderJob): RenderAnswer {
  try {
    return answerTo(job)
  } catch (error) {
    const { code, message } =
      error instanceof TemplateError ? error : new TemplateError('invalid', 'cannot be rendered')
    return { error: { code, message } }
  }
}
