const EPOCH_MS = Date.UTC(2025, 0, 1)
const SEQUENCES_PER_MS = 4096

/**
 * Row ids: 64-bit, growing with time, made without asking the database, so that tables can be partitioned by id.
 * (ms since 2025-01-01) << 20 | process number (8 bits) << 12 | sequence (12 bits). Decimal strings, as `pg` reads bigint.
 */
export function idGenerator(processNumber: () => number, clock: () => number = Date.now): () => string {
  let lastMs = 0
  let sequence = 0

  return () => {
    // A clock set back must not repeat ids, and a full millisecond borrows from the next.
    const now = Math.max(clock() - EPOCH_MS, lastMs)
    sequence = now === lastMs ? sequence + 1 : 0
    lastMs = now
    if (sequence === SEQUENCES_PER_MS) {
      lastMs += 1
      sequence = 0
    }
    return String((BigInt(lastMs) << 20n) | (BigInt(processNumber()) << 12n) | BigInt(sequence))
  }
}

/** When a row id was made, in milliseconds since 1970. */
export const timeOfId = (id: string): number => Number(BigInt(id) >> 20n) + EPOCH_MS

/** Marks our uuids as derived from row ids ("evntcntr" has no meaning beyond being constant). */
const UUID_SUFFIX = 0xa5_65_76_6e_74_63_6en

/**
 * The public uuid of a row id (notifications, and `job_id` of deliveries): the 64 bits of the id spread around the
 * version (8: custom) and variant bits of RFC 9562, so that it needs no column and no look-up.
 */
export function uuidOf(id: string): string {
  const value = BigInt(id)
  const bits =
    ((value >> 16n) << 80n) |
    (8n << 76n) |
    (((value >> 4n) & 0xfffn) << 64n) |
    (0x8n << 60n) |
    ((value & 0xfn) << 56n) |
    UUID_SUFFIX
  const hex = bits.toString(16).padStart(32, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The row id inside a uuid made by `uuidOf`; null for any other text. */
export function idOfUuid(uuid: string): string | null {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/i.test(uuid)) return null
  const bits = BigInt(`0x${uuid.replaceAll('-', '')}`)
  const id = String(((bits >> 80n) << 16n) | (((bits >> 64n) & 0xfffn) << 4n) | ((bits >> 56n) & 0xfn))
  return BigInt(id) < 1n << 63n && uuidOf(id) === uuid.toLowerCase() ? id : null
}
