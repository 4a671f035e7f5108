import type { JsonObject } from '../core/json.ts'

/** Liquid source of one message. */
export type TemplateSource = { subject: string; body: string }

/** What a template may say: the public names of contracts (`user`, `event`, `data`, `links`). */
export type TemplateVariables = { user: JsonObject; event: JsonObject; data: JsonObject; links: JsonObject }

export type TemplateFault = { field: 'subject' | 'body'; message: string }

/** Runs untrusted templates: in another thread, with a time limit that kills and a memory cap. */
export type Renderer = {
  /**
   * Renders subject and body. Throws `TemplateError`; variables are strict, so a missing one is an error that names it.
   * Values are escaped for the body's format unless the template is plain text.
   */
  render(
    source: TemplateSource,
    bodyFormat: 'html' | 'text',
    variables: TemplateVariables,
    locale: string,
  ): Promise<TemplateSource>
  /**
   * What is wrong with a template as written, without variables. Empty when it may be saved. With a locale, also what
   * that language asks for: all its plural forms.
   */
  faults(source: TemplateSource, bodyFormat: 'html' | 'text', locale?: string): Promise<TemplateFault[]>
  close(): Promise<void>
}

/** A template that cannot be rendered: its author's fault, or its data's. Never worth a retry without a change. */
export class TemplateError extends Error {
  readonly code: 'invalid' | 'missing-variable' | 'timeout' | 'too-large'

  constructor(code: TemplateError['code'], message: string) {
    super(message)
    this.name = 'TemplateError'
    this.code = code
  }
}
