import { parseAddress } from '../../core/email-address.ts'

/** Who mail is from; the name may be empty. */
export type Sender = { name: string; address: string }

const MAX_NAME_LENGTH = 100

/** Reads MAIL_FROM: `name@example.com`, or with a display name: `Example <name@example.com>`. */
export function parseSender(text: string): Sender {
  const [, quoted, plain, inBrackets] = /^(?:(?:"([^"]*)"|([^"<>]*?)) *<([^<>]*)>)$/.exec(text) ?? []
  const name = (quoted ?? plain ?? '').trim()
  const address = parseAddress(inBrackets ?? text)
  const isNameFine = name.length <= MAX_NAME_LENGTH && !/[\p{Cc}\p{Bidi_Control}\\"<>@]/u.test(name)
  if (address !== null && isNameFine) return { name, address }
  throw new Error('expected an address such as news@example.com or Example <news@example.com>')
}
