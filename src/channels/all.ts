import { email } from './email/email.ts'
import { ws } from './ws.ts'

/** Every channel. Adding one is its file and its word here: `docs/channels/new-channel.md`. */
export const all = [ws, email] as const
