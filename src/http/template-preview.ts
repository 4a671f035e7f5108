import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError, invalidField } from '../core/errors.ts'
import { channelName } from '../core/event-type-schema.ts'
import { plainText } from '../core/plain-text.ts'
import { ANY_LOCALE } from '../core/template-lookup.ts'
import { TemplateError } from '../render/renderer.ts'
import { findTemplate, type TemplateDraft } from '../store/template.ts'
import { serviceCaller } from './access.ts'
import { formatOf, locale, refuseFaults, type TemplatePorts, words } from './template-words.ts'

/** `POST /api/v1/templates/preview`: what a template, stored or not, would say. */
export const previewRoute =
  (ports: TemplatePorts): FastifyPluginAsyncZod =>
  async (app) => {
    app.post('/api/v1/templates/preview', {
      config: { access: { scope: 'templates:read' } },
      schema: {
        tags: ['Templates'],
        summary: 'Show what a template would say',
        description:
          'Either of a stored template (`id`) or of a source. Variables that are not given are empty, so that a template ' +
          'which needs them answers 400 and names them.',
        body: z.union([stored, unsaved]),
        response: {
          200: z.object({
            subject: z.string(),
            html: z.string().nullable().describe('null: the channel shows plain text.'),
            text: z.string(),
          }),
        },
      },
      handler: async (request) => {
        const { variables = {}, ...source } = request.body
        const draft = 'id' in source ? await find(ports, serviceCaller(request).companyId, source.id) : source
        await refuseFaults(ports, { ...draft, subject: draft.subject ?? null })

        const format = formatOf(ports, draft.channel)
        const language = draft.locale === ANY_LOCALE ? 'en' : draft.locale
        const { subject, body } = await render(ports, draft, format, variables, language)
        return format === 'html' ? { subject, html: body, text: plainText(body) } : { subject, html: null, text: body }
      },
    })
  }

const json = z.record(z.string(), z.json())
const variables = z.strictObject({
  user: json.exactOptional(),
  event: json.exactOptional(),
  data: json.exactOptional(),
  links: json.exactOptional(),
  ad: json.exactOptional(),
})
const stored = z.strictObject({ id: z.uuid(), variables: variables.exactOptional() })
const unsaved = z.strictObject({ channel: channelName, locale, ...words, variables: variables.exactOptional() })

async function find({ db }: Pick<TemplatePorts, 'db'>, companyId: string, id: string): Promise<TemplateDraft> {
  const found = await findTemplate(db, companyId, id)
  if (!found) throw new AppError('not-found', 'There is no template with this id')
  return found
}

async function render(
  { renderer }: Pick<TemplatePorts, 'renderer'>,
  { subject, body }: { subject?: string | null; body: string },
  format: 'html' | 'text',
  given: z.output<typeof variables>,
  language: string,
): Promise<{ subject: string; body: string }> {
  const values = { user: {}, event: {}, data: {}, links: { inbox: 'https://example.com/' }, ...given }
  try {
    return await renderer.render({ subject: subject ?? '', body }, format, values, language)
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    const [, field = 'body', message = error.message] = /^(subject|body), (.*)$/s.exec(error.message) ?? []
    throw invalidField(field, message)
  }
}
