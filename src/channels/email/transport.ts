import type { Receipt } from '../channel.ts'
import type { Mail } from './mail.ts'

/** Where finished mail goes. Errors are `DeliveryError`. */
export type Transport = {
  /** Repeating a mail changes nothing. */
  isIdempotent: boolean
  send(mail: Mail, signal: AbortSignal): Promise<Receipt>
  /** Rejects when mail cannot be handed over now. */
  check(): Promise<void>
  /** Waits for mail that is on its way. */
  close(): Promise<void>
}
