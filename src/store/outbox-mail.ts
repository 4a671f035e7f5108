import type { MailOutbox } from '../channels/channel.ts'
import type { Queryable } from '../db/db.ts'

export type KeptMail = {
  id: string
  message_id: string
  mail_from: string
  mail_to: string
  subject: string
  at: string
}
export type KeptMailParts = KeptMail & { text_part: string; html_part: string | null }

/** How many mails the outbox keeps, give or take `PRUNE_EVERY`: it is a window to look through, not an archive. */
const KEEP = 1000
const PRUNE_EVERY = 100

/** Keeps mail in the database for the outbox page. A mail that comes again, by its Message-ID, changes nothing. */
export function mailOutbox(db: Queryable): MailOutbox {
  let untilPrune = 0

  return {
    async keep(mail) {
      await insertMail(db, mail)
      if (untilPrune > 0) {
        untilPrune -= 1
        return
      }
      untilPrune = PRUNE_EVERY
      await pruneMail(db, KEEP)
    },
  }
}

/** The newest mails of a company, those older than the one with id `before` if it is given; without their parts. */
export async function listMail(
  db: Queryable,
  companyId: string,
  { limit, before }: { limit: number; before?: string | undefined },
): Promise<KeptMail[]> {
  return db.query(
    `select id, message_id, mail_from, mail_to, subject, at from outbox_mail
     where company_id = $1 and ($2::bigint is null or id < $2)
     order by id desc limit $3`,
    [companyId, before ?? null, limit],
  )
}

/** One mail of a company with its parts, or null. */
export async function findMail(db: Queryable, companyId: string, id: string): Promise<KeptMailParts | null> {
  const [mail] = await db.query<KeptMailParts>(
    `select id, message_id, mail_from, mail_to, subject, text_part, html_part, at from outbox_mail
     where company_id = $1 and id = $2`,
    [companyId, id],
  )
  return mail ?? null
}

async function insertMail(db: Queryable, mail: Parameters<MailOutbox['keep']>[0]): Promise<void> {
  await db.query(
    `insert into outbox_mail (company_id, message_id, mail_from, mail_to, subject, text_part, html_part)
     values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (message_id) do nothing`,
    [mail.companyId, mail.messageId, mail.from, mail.to, mail.subject, mail.text, mail.html],
  )
}

async function pruneMail(db: Queryable, keep: number): Promise<void> {
  await db.query(
    'delete from outbox_mail where id <= (select id from outbox_mail order by id desc offset $1 limit 1)',
    [keep],
  )
}
