import { AppError } from '../core/errors.ts'
import type { TemplateKey } from '../core/template-lookup.ts'
import type { Queryable } from '../db/db.ts'

/** What makes a template itself; a company has one current template of a key. */
export type TemplateDraft = Omit<TemplateKey, 'company_id'> & { channel: string; subject: string | null; body: string }

/** One version of a template. */
export type Template = TemplateDraft & {
  /** Of this version; deliveries keep it. */
  id: string
  /** The same for all versions. */
  public_id: string
  company_id: string
  version: number
  created_at: string
}

const COLUMNS = 'id, public_id, company_id, template_code, channel, locale, version, subject, body, created_at'

/** Creates a template. Throws `conflict` when the company has a current one with this code, channel and locale. */
export async function insertTemplate(db: Queryable, companyId: string, draft: TemplateDraft): Promise<Template> {
  const rows = await db.query<Template>(
    `insert into template (company_id, template_code, channel, locale, version, subject, body)
     select $1, $2, $3, $4, coalesce(max(version), 0) + 1, $5, $6 from template
     where company_id = $1 and template_code = $2 and channel = $3 and locale = $4
     having not coalesce(bool_or(is_current), false)
     on conflict do nothing
     returning ${COLUMNS}`,
    [companyId, draft.template_code, draft.channel, draft.locale, draft.subject, draft.body],
  )
  if (rows[0]) return rows[0]
  const { template_code: code, channel, locale } = draft
  throw new AppError('conflict', `There is already a template "${code}" for ${channel} in ${locale}`)
}

/** Makes the next version; null when there is no current template with this id, or no longer at `ifVersion`. */
export async function updateTemplate(
  db: Queryable,
  companyId: string,
  publicId: string,
  { subject, body }: Pick<TemplateDraft, 'subject' | 'body'>,
  ifVersion: number | null = null,
): Promise<Template | null> {
  const rows = await db.query<Template>(
    `with old as (
       update template set is_current = false
       where company_id = $1 and public_id = $2 and is_current and ($5::integer is null or version = $5)
       returning *
     )
     insert into template (public_id, company_id, template_code, channel, locale, version, subject, body)
     select public_id, company_id, template_code, channel, locale, version + 1, $3, $4 from old
     returning ${COLUMNS}`,
    [companyId, publicId, subject, body, ifVersion],
  )
  return rows[0] ?? null
}

/** Creates a template or makes its next version. */
export async function putTemplate(db: Queryable, companyId: string, draft: TemplateDraft): Promise<void> {
  await db.query(
    `with old as (
       update template set is_current = false
       where company_id = $1 and template_code = $2 and channel = $3 and locale = $4 and is_current
       returning public_id
     )
     insert into template (public_id, company_id, template_code, channel, locale, version, subject, body)
     select coalesce((select public_id from old), gen_random_uuid()), $1, $2, $3, $4,
       (select coalesce(max(version), 0) + 1 from template
        where company_id = $1 and template_code = $2 and channel = $3 and locale = $4), $5, $6`,
    [companyId, draft.template_code, draft.channel, draft.locale, draft.subject, draft.body],
  )
}

/** Takes a template out of use; deliveries can still be rendered from its versions. False when there was none. */
export async function deleteTemplate(db: Queryable, companyId: string, publicId: string): Promise<boolean> {
  const rows = await db.query(
    'update template set is_current = false where company_id = $1 and public_id = $2 and is_current returning id',
    [companyId, publicId],
  )
  return rows.length > 0
}

/** A current template that the company may see: its own, or a platform-wide one. */
export async function findTemplate(db: Queryable, companyId: string, publicId: string): Promise<Template | null> {
  const rows = await db.query<Template>(
    `select ${COLUMNS} from template where public_id = $2 and company_id in ($1, '') and is_current`,
    [companyId, publicId],
  )
  return rows[0] ?? null
}

export type TemplateFilter = { template_code?: string; channel?: string; locale?: string }

/** Current templates that the company may see, the oldest first; `after` is the `id` of the last row of the page before. */
export const listTemplates = (
  db: Queryable,
  companyId: string,
  { template_code: code, channel, locale }: TemplateFilter,
  { after, limit }: { after: string | null; limit: number },
): Promise<Template[]> =>
  db.query<Template>(
    `select ${COLUMNS} from template
     where company_id in ($1, '') and is_current and id > coalesce($2::bigint, 0)
       and ($4::text is null or template_code = $4) and ($5::text is null or channel = $5)
       and ($6::text is null or locale = $6)
     order by id limit $3`,
    [companyId, after, limit, code ?? null, channel ?? null, locale ?? null],
  )

/** The templates that a message over `channel` can be made from, in every locale; `chooseTemplate` takes one. */
export const findTemplates = (
  db: Queryable,
  companyId: string,
  codes: readonly string[],
  channel: string,
): Promise<Template[]> =>
  db.query<Template>(
    `select ${COLUMNS} from template
     where company_id in ($1, '') and template_code = any($2) and channel = $3 and is_current`,
    [companyId, codes, channel],
  )

/** The version that a delivery was rendered from. */
export async function templateVersion(db: Queryable, id: string): Promise<Template | null> {
  const rows = await db.query<Template>(`select ${COLUMNS} from template where id = $1`, [id])
  return rows[0] ?? null
}
