import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError } from '../core/errors.ts'
import type { Ports } from '../ports.ts'
import { findMail, type KeptMail, listMail } from '../store/outbox-mail.ts'
import { serviceCaller } from './access.ts'
import { cursorParts, cursorText, pageOf, pageQuery } from './page.ts'

/** `/api/v1/outbox`: mail that was kept because no mail server is set. */
export const outboxRoutes =
  ({ db }: Pick<Ports, 'db'>): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Outbox']
    const config = { access: { scope: 'outbox:read' } } as const

    app.get('/api/v1/outbox', {
      config,
      schema: {
        tags,
        summary: 'Mail that was kept instead of sent, newest first',
        description: 'About the newest 1,000, as long as SMTP_URL is not set.',
        querystring: z.strictObject(pageQuery),
        response: { 200: pageOf(mailSchema) },
      },
      handler: async (request) => {
        const { limit, after } = request.query
        const before = after === undefined ? undefined : cursorParts(after, [isRowId])[0]
        const mails = await listMail(db, serviceCaller(request).companyId, { limit: limit + 1, before })
        const items = mails.slice(0, limit)
        const last = mails.length > limit ? items.at(-1) : undefined
        return { items: items.map(shown), next: last ? cursorText([last.id]) : null }
      },
    })

    app.get('/api/v1/outbox/:id', {
      config,
      schema: {
        tags,
        summary: 'One mail with its text and HTML',
        description: 'The HTML is as it would have been sent. Show it only in a sandboxed frame without scripts.',
        params: z.strictObject({ id: z.string().max(100) }),
        response: { 200: mailSchema.extend({ text: z.string(), html: z.string().nullable() }) },
      },
      handler: async (request) => {
        const { id } = request.params
        const mail = isRowId(id) ? await findMail(db, serviceCaller(request).companyId, id) : null
        if (!mail) throw new AppError('not-found', 'The outbox has no mail with this id')
        return { ...shown(mail), text: mail.text_part, html: mail.html_part }
      },
    })
  }

const mailSchema = z
  .object({
    id: z.string(),
    message_id: z.string(),
    from: z.string(),
    to: z.string(),
    subject: z.string(),
    created_at: z.string(),
  })
  .meta({ id: 'OutboxMail' })

const shown = ({ id, message_id, mail_from, mail_to, subject, at }: KeptMail): z.infer<typeof mailSchema> => ({
  id,
  message_id,
  from: mail_from,
  to: mail_to,
  subject,
  created_at: at,
})

const isRowId = (text: string): boolean => /^\d{1,18}$/.test(text)
