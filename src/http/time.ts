import { z } from 'zod'

/** A time in a request: RFC 3339 with its offset, in the years that the database knows too. */
export const time = z.iso
  .datetime({ offset: true, error: 'expected a time such as 2026-03-01T09:30:00Z', abort: true })
  .refine((text) => /^[12]/.test(text), 'expected a time between the years 1000 and 2999')
