import { AppError } from '../core/errors.ts'

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }
const MOST_SECONDS = 10 * 365 * 86_400

/** The seconds of a duration as people type it: `90s`, `15m`, `12h`, `30d`, or a bare number of seconds. */
export function seconds(text: string): number {
  const [, number, unit] = /^(\d{1,10})([smhd]?)$/.exec(text) ?? []
  const value = Number(number) * (UNITS[unit || 's'] ?? NaN)
  if (value >= 1 && value <= MOST_SECONDS) return value
  throw new AppError('invalid', 'Expected a duration such as 90s, 15m, 12h or 30d, at most ten years')
}
