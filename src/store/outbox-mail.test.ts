import { afterAll, beforeAll, expect, suite, test } from 'vitest'
import { freshDatabase, type FreshDatabase } from '../../test/database.ts'
import { findMail, listMail, mailOutbox } from './outbox-mail.ts'

let database: FreshDatabase
beforeAll(async () => {
  database = await freshDatabase()
})
afterAll(() => database.close())

const mail = (n: number, companyId: string) => ({
  messageId: `<${companyId}-${n}@example.com>`,
  from: 'news@example.com',
  to: 'ivan@example.org',
  subject: `Mail ${n}`,
  text: 'text',
  html: null,
  companyId,
})

suite('the outbox', () => {
  test('lists the newest mail first, page by page, for its own company only', async () => {
    const { db } = database
    const outbox = mailOutbox(db)
    for (let n = 1; n <= 5; n += 1) await outbox.keep(mail(n, 'acme'))
    await outbox.keep(mail(1, 'other'))

    const first = await listMail(db, 'acme', { limit: 3 })
    const second = await listMail(db, 'acme', { limit: 3, before: first[2]!.id })

    expect(first.map(({ subject }) => subject)).toEqual(['Mail 5', 'Mail 4', 'Mail 3'])
    expect(second.map(({ subject }) => subject)).toEqual(['Mail 2', 'Mail 1'])
    expect(await findMail(db, 'other', first[0]!.id)).toBeNull()
    expect(await findMail(db, 'acme', first[0]!.id)).toMatchObject({ subject: 'Mail 5', text_part: 'text' })
  })

  test('is a window: it keeps about the newest thousand', async () => {
    const { db } = database
    const outbox = mailOutbox(db)
    await db.query(
      `insert into outbox_mail (company_id, message_id, mail_from, mail_to, subject, text_part)
       select 'many', 'm' || n, 'a@b', 'c@d', 'Old ' || n, 't' from generate_series(1, 3000) n`,
    )

    await outbox.keep(mail(1, 'many'))

    const [count] = await db.query<{ count: string }>('select count(*) from outbox_mail')
    expect(Number(count?.count)).toBe(1000)
    expect((await listMail(db, 'many', { limit: 1 }))[0]?.subject).toBe('Mail 1')
  })
})
