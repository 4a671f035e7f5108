import type { JsonObject } from '../core/json.ts'

/** One place where a user is reached over one channel. */
export type Address = { id: string; channel: string; value: string; state: 'active' | 'blocked' | 'suppressed' }

/** What the directory knows of a user. `profile` is free-form (name, …) and is given to templates as `user`. */
export type User = {
  company_id: string
  user_id: string
  locale: string | null
  time_zone: string | null
  profile: JsonObject
  addresses: Address[]
}

/** Somebody of whom the directory knows nothing. */
export const unknownUser = (companyId: string, userId: string): User => ({
  company_id: companyId,
  user_id: userId,
  locale: null,
  time_zone: null,
  profile: {},
  addresses: [],
})

/** Who the users are. Asked at the moment of sending, so that a changed address counts for what is still waiting. */
export type Directory = {
  /** The user, or null when the directory does not know him. Throws when the directory cannot be asked now. */
  find(companyId: string, userId: string): Promise<User | null>
  /** Records that an address is gone for good, with the delivery that showed it. */
  forget(address: Address, reason: string, deliveryId: string): Promise<void>
}
