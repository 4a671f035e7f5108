import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError, invalidField } from '../core/errors.ts'
import { channelName } from '../core/event-type-schema.ts'
import {
  deleteTemplate,
  findTemplate,
  insertTemplate,
  listTemplates,
  type Template,
  updateTemplate,
} from '../store/template.ts'
import { serviceCaller } from './access.ts'
import { cursorParts, cursorText, isRowId, pageOf, pageQuery } from './page.ts'
import { previewRoute } from './template-preview.ts'
import { locale, refuseFaults, templateCode, type TemplatePorts, words } from './template-words.ts'

/** `/api/v1/templates`: how events are said. A company has its own templates beside those of the platform. */
export const templateRoutes =
  (ports: TemplatePorts): FastifyPluginAsyncZod =>
  async (app) => {
    const { db } = ports
    const tags = ['Templates']
    const write = { access: { scope: 'templates:write' } } as const
    const read = { access: { scope: 'templates:read' } } as const
    const params = z.strictObject({ id: z.uuid() })

    await app.register(previewRoute(ports))

    app.post('/api/v1/templates', {
      config: { ...write, refusals: ['conflict'] },
      schema: {
        tags,
        summary: 'Create a template',
        body: z.strictObject({ template_code: templateCode, channel: channelName, locale, ...words }),
        response: { 201: templateSchema },
      },
      handler: async (request, reply) => {
        const { subject = null, ...rest } = request.body
        const draft = { ...rest, subject }
        await refuseFaults(ports, draft)
        return reply.code(201).send(answerOf(await insertTemplate(db, serviceCaller(request).companyId, draft)))
      },
    })

    app.get('/api/v1/templates', {
      config: read,
      schema: {
        tags,
        summary: 'The templates that may be used',
        querystring: z.strictObject({
          ...pageQuery,
          template_code: templateCode.exactOptional(),
          channel: channelName.exactOptional(),
          locale: locale.exactOptional(),
        }),
        response: { 200: pageOf(templateSchema) },
      },
      handler: async (request) => {
        const { limit, after, ...filter } = request.query
        const last = after === undefined ? null : (cursorParts(after, [isRowId])[0] ?? null)
        const page = { after: last, limit: limit + 1 }
        const found = await listTemplates(db, serviceCaller(request).companyId, filter, page)
        const items = found.slice(0, limit)
        return { items: items.map(answerOf), next: found.length > limit ? cursorText([items.at(-1)?.id ?? '0']) : null }
      },
    })

    app.get('/api/v1/templates/:id', {
      config: read,
      schema: { tags, summary: 'One template', params, response: { 200: templateSchema } },
      handler: async (request) => {
        const found = await findTemplate(db, serviceCaller(request).companyId, request.params.id)
        if (!found) throw unknown()
        return answerOf(found)
      },
    })

    app.put('/api/v1/templates/:id', {
      config: { ...write, refusals: ['conflict'] },
      schema: {
        tags,
        summary: 'Change the words of a template: makes its next version',
        description:
          'Code, channel and locale stay as they are; sent along, they must be the same. With `version`, only while that ' +
          'is the current one.',
        params,
        body: z.strictObject({
          template_code: templateCode.exactOptional(),
          channel: channelName.exactOptional(),
          locale: locale.exactOptional(),
          version: z.int().min(1).exactOptional(),
          ...words,
        }),
        response: { 200: templateSchema },
      },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        const { subject = null, body, version, ...key } = request.body
        const current = own(await findTemplate(db, companyId, request.params.id), companyId)
        for (const name of ['template_code', 'channel', 'locale'] as const) {
          if (key[name] === undefined || key[name] === current[name]) continue
          throw invalidField(name, `is "${current[name]}" and stays so: create another template`)
        }
        await refuseFaults(ports, { ...current, subject, body })

        const stored = await updateTemplate(db, companyId, request.params.id, { subject, body }, version ?? null)
        if (stored) return answerOf(stored)
        const now = own(await findTemplate(db, companyId, request.params.id), companyId)
        throw new AppError('conflict', `The template is at version ${now.version} by now`)
      },
    })

    app.delete('/api/v1/templates/:id', {
      config: write,
      schema: { tags, summary: 'Take a template out of use', params, response: { 204: z.undefined() } },
      handler: async (request, reply) => {
        const { companyId } = serviceCaller(request)
        own(await findTemplate(db, companyId, request.params.id), companyId)
        if (!(await deleteTemplate(db, companyId, request.params.id))) throw unknown()
        return reply.code(204).send()
      },
    })
  }

const templateSchema = z
  .object({
    id: z.string(),
    company_id: z.string().nullable().describe('null: of the platform.'),
    template_code: z.string(),
    channel: z.string(),
    locale: z.string(),
    subject: z.string().nullable(),
    body: z.string(),
    version: z.int(),
    updated_at: z.string(),
  })
  .meta({ id: 'Template' })

const answerOf = (template: Template): z.output<typeof templateSchema> => ({
  id: template.public_id,
  company_id: template.company_id || null,
  template_code: template.template_code,
  channel: template.channel,
  locale: template.locale,
  subject: template.subject,
  body: template.body,
  version: template.version,
  updated_at: template.created_at,
})

/** Another company's templates do not exist; the platform's may be read. */
function own(template: Template | null, companyId: string): Template {
  if (!template) throw unknown()
  if (template.company_id === companyId) return template
  throw new AppError('forbidden', 'This template belongs to the platform: create one of your own with the same code')
}

const unknown = (): AppError => new AppError('not-found', 'There is no template with this id')
