import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../core/errors.ts'

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
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.isProbe) return
    if (current >= inFlight)
      throw new AppError('unavailable', 'Too many requests at this moment', { retryAfterSeconds: 1 })
    current += 1
    reply.raw.once('close', () => {
      current -= 1
    })
  })
}

/** Who sends wrong credentials too often; `note` throws `too-many` then. Right ones always count, whatever others send. */
export type Failures = { note: (request: FastifyRequest) => Promise<void> }

/**
 * Requests in a minute by who is known to send them: the key, the user, and only for public pages the address. Counted in
 * this process: several processes together let through as many times more.
 */
export function rateLimits(app: FastifyInstance, limits: HttpLimits): Failures {
  void app.register(rateLimit, {
    timeWindow: MINUTE_MS,
    cache: 20_000,
    enableDraftSpec: true,
    max: ({ caller }: FastifyRequest) => {
      if (!caller) return limits.addressPerMinute
      return caller.kind === 'service' ? limits.servicePerMinute : limits.userPerMinute
    },
    keyGenerator: identityOf,
    allowList: (request) => request.routeOptions.config.isProbe === true,
    errorResponseBuilder: (_request, { ttl }) => tooMany('Too many requests', ttl),
  })

  let count: ReturnType<FastifyInstance['createRateLimit']> | undefined
  return {
    async note(request) {
      count ??= app.createRateLimit({
        max: limits.failuresPerMinute,
        timeWindow: MINUTE_MS,
        keyGenerator: ({ ip }) => `failures ${ip}`,
        allowList: [],
      })
      const state = await count(request)
      if (!state.isAllowed && state.isExceeded) throw tooMany('Too many requests with wrong credentials', state.ttl)
    },
  }
}

const MINUTE_MS = 60_000

function identityOf({ caller, ip }: FastifyRequest): string {
  if (!caller) return `address ${ip}`
  return caller.kind === 'service' ? `key ${caller.keyId}` : `user ${JSON.stringify([caller.companyId, caller.userId])}`
}

const tooMany = (what: string, ttlMs: number): AppError =>
  new AppError('too-many', `${what}: wait as long as Retry-After says`, { retryAfterSeconds: ttlMs / 1000 })
