/** What the bench uses of it; the package has no types and is not installed for the type check. */
declare module 'autocannon' {
  export type Result = {
    '2xx': number
    non2xx: number
    errors: number
    /** Seconds. */
    duration: number
    latency: { p50: number; p99: number }
  }
  const autocannon: (
    options: Record<string, unknown>,
  ) => Promise<Result> & { on(event: 'response', listener: (client: unknown, status: number) => void): void }
  export default autocannon
}
