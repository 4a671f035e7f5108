import { isIPv6 } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../core/errors.ts'
import { windowCounter } from './window-counter.ts'

export type HttpLimits = {
  servicePerMinute: number
  userPerMinute: number
  /** Of public pages, by one address. */
  addressPerMinute: number
  /** Requests with wrong credentials, from one address. */
  failuresPerMinute: number
  /** Requests being answered at once; more are told to come again. */
  inFlight: number
}

export const DEFAULT_LIMITS: HttpLimits = {
  servicePerMinute: 60_000,
  userPerMinute: 300,
  addressPerMinute: 1200,
  failuresPerMinute: 60,
  inFlight: 1000,
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Asked by machines that watch this one: answered also when it is busy. */
    isProbe?: boolean
  }
}

/** Refuses requests beyond what is being answered at this moment, before anything is done for them. */
export function inFlightLimit(app: FastifyInstance, { inFlight }: HttpLimits): void {
  let current = 0
  app.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.isProbe) return done()
    if (current >= inFlight)
      throw new AppError('unavailable', 'Too many requests at this moment', { retryAfterSeconds: 1 })
    current += 1
    reply.raw.once('close', () => {
      current -= 1
    })
    done()
  })
}

/**
 * Requests in a minute by who is known to send them: the key, the user, and only for public pages the address. Counted in
 * this process: several processes together let through as many times more. Runs when the callers are known.
 */
export function rateLimit(app: FastifyInstance, limits: HttpLimits): void {
  const counter = windowCounter(MINUTE_MS, MAX_KEYS)

  app.addHook('onRequest', (request, reply, done) => {
    if (request.routeOptions.config.isProbe) return done()
    const { key, max } = identityOf(request, limits)
    const { count, endsInMs } = counter.count(key)
    reply.headers({
      'ratelimit-limit': max,
      'ratelimit-remaining': Math.max(0, max - count),
      'ratelimit-reset': Math.ceil(endsInMs / 1000),
    })
    if (count > max) throw tooMany('Too many requests', endsInMs)
    done()
  })
}

/** Notes that an address sent wrong credentials; throws `too-many` when it did so too often. */
export type NoteFailure = (request: FastifyRequest) => void

/** Right credentials always count, whatever others send from the same address. */
export function failureLimit({ failuresPerMinute }: HttpLimits): NoteFailure {
  const counter = windowCounter(MINUTE_MS, MAX_KEYS)
  return ({ ip }) => {
    const { count, endsInMs } = counter.count(networkOf(ip))
    if (count > failuresPerMinute) throw tooMany('Too many requests with wrong credentials', endsInMs)
  }
}

const MINUTE_MS = 60_000
const MAX_KEYS = 20_000

function identityOf({ caller, ip }: FastifyRequest, limits: HttpLimits): { key: string; max: number } {
  if (!caller) return { key: `address ${networkOf(ip)}`, max: limits.addressPerMinute }
  if (caller.kind === 'service') return { key: `key ${caller.keyId}`, max: limits.servicePerMinute }
  return { key: `user ${JSON.stringify([caller.companyId, caller.userId])}`, max: limits.userPerMinute }
}

/** An IPv6 client owns all addresses of its network of 64 bits. */
export function networkOf(ip: string): string {
  if (!isIPv6(ip) || ip.includes('.')) return ip
  const [head = '', tail] = ip.toLowerCase().split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return groups
    .slice(0, 4)
    .map((group) => parseInt(group, 16).toString(16))
    .join(':')
}

const tooMany = (what: string, endsInMs: number): AppError =>
  new AppError('too-many', `${what}: wait as long as Retry-After says`, { retryAfterSeconds: endsInMs / 1000 })
