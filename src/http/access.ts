import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { AppError } from '../core/errors.ts'
import type { InitiatedBy } from '../core/event.ts'
import type { Scope } from '../core/scope.ts'
import type { NoteFailure } from './limits.ts'

/**
 * Who may call a route: anybody, an end user for himself, or a service whose key has the scope (or, with `orLoopback`,
 * whoever calls from this machine itself).
 */
export type Access = 'public' | 'user' | { scope: Scope; orLoopback?: true }

export type ServiceCaller = {
  kind: 'service'
  keyId: string
  /** The company acted for; '' is the platform. */
  companyId: string
  /** The key belongs to no company, so it may act for any. */
  isPlatform: boolean
  scopes: readonly Scope[]
}
export type UserCaller = { kind: 'user'; userId: string; companyId: string; roles: readonly string[] }
export type Caller = ServiceCaller | UserCaller

/** Checks credentials; null where they are not valid. */
export type Authenticate = {
  service(key: string): Promise<{ keyId: string; companyId: string; scopes: readonly Scope[] } | null>
  user(token: string): Promise<{ userId: string; companyId: string; roles: readonly string[] } | null>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
  }
  interface FastifyRequest {
    caller: Caller | null
  }
}

/**
 * Closes every route that does not say who may call it: the server does not even start then. Callers are known before
 * the body is read.
 */
export function accessControl(app: FastifyInstance, authenticate: Authenticate, noteFailure: NoteFailure): void {
  app.decorateRequest('caller', null)

  app.addHook('onRoute', (route: RouteOptions) => {
    const access = route.config?.access
    const name = `${String(route.method)} ${route.url}`
    if (!access) throw new Error(`${name} must say who may call it: config: { access: … }`)
    // The tests of access are made from the documentation.
    if (route.schema?.hide && access !== 'public') throw new Error(`${name} is not public, so it must be documented`)
  })

  app.addHook('onRequest', async (request) => {
    const { access } = request.routeOptions.config
    if (request.is404 || access === 'public') return
    if (typeof access === 'object' && access.orLoopback && isLoopback(request)) return
    request.caller = await identify(request, authenticate).catch((error: unknown) => {
      if (error instanceof AppError && error.code === 'unauthorized') noteFailure(request)
      throw error
    })
    allow(request.caller, access)
  })
}

/** The service that calls. Only in routes whose access is a scope. */
export function serviceCaller({ caller }: FastifyRequest): ServiceCaller {
  if (caller?.kind !== 'service') throw new Error('This route has no calling service')
  return caller
}

/** The user who calls. Only in routes whose access is `user`. */
export function userCaller({ caller }: FastifyRequest): UserCaller {
  if (caller?.kind !== 'user') throw new Error('This route has no calling user')
  return caller
}

/** Who caused the event according to the headers X-Initiated-By-*: a claim that counts only with `initiator:set`. */
export function initiatedBy(request: FastifyRequest): InitiatedBy | undefined {
  const userId = claim(request, 'x-initiated-by-user-id')
  if (userId === undefined || !serviceCaller(request).scopes.includes('initiator:set')) return undefined
  const role = claim(request, 'x-initiated-by-role')
  const channel = claim(request, 'x-initiated-by-channel')
  return { user_id: userId, ...(role !== undefined && { role }), ...(channel !== undefined && { channel }) }
}

async function identify(request: FastifyRequest, authenticate: Authenticate): Promise<Caller> {
  const token = /^Bearer +([\w.~+/=-]+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token === undefined)
    throw new AppError('unauthorized', 'Send `Authorization: Bearer` with an API key or a user token')

  if (token.startsWith('sk_')) {
    const key = await authenticate.service(token)
    if (!key) throw new AppError('unauthorized', 'The API key is not valid')
    const isPlatform = key.companyId === ''
    return { kind: 'service', ...key, isPlatform, companyId: companyOf(request, key.companyId, isPlatform) }
  }
  const user = await authenticate.user(token)
  if (!user) throw new AppError('unauthorized', 'The user token is not valid')
  return { kind: 'user', ...user, companyId: companyOf(request, user.companyId, false) }
}

function allow(caller: Caller, access: Access | undefined): void {
  if (access === 'user') {
    if (caller.kind !== 'user') throw new AppError('forbidden', 'This belongs to one user: call it with a user token')
    return
  }
  if (typeof access !== 'object') throw new AppError('forbidden', 'Nobody may call this')
  if (caller.kind !== 'service') throw new AppError('forbidden', 'Call this with an API key')
  if (!caller.scopes.includes(access.scope)) {
    throw new AppError('forbidden', `The API key has no scope \`${access.scope}\``)
  }
}

const LOOPBACK = /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/

/** From this machine and not through a proxy on it, which would make the whole world look local. */
const isLoopback = ({ headers, socket }: FastifyRequest): boolean =>
  LOOPBACK.test(socket.remoteAddress ?? '') &&
  !PROXY_HEADERS.some((name) => headers[name] !== undefined) &&
  headers.authorization === undefined

const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via']

/** A caller without a company may name one in `X-Company-Id`; everybody else may at most name his own. */
function companyOf(request: FastifyRequest, companyId: string, isPlatform: boolean): string {
  const named = claim(request, 'x-company-id')
  if (named === undefined || named === companyId) return companyId
  if (!isPlatform) throw new AppError('forbidden', 'X-Company-Id names a company that is not yours')
  return named
}

const MAX_CLAIM_LENGTH = 200

function claim({ headers }: FastifyRequest, name: string): string | undefined {
  const value = headers[name]
  if (value === undefined || value === '') return undefined
  if (typeof value === 'string' && value.length <= MAX_CLAIM_LENGTH && /^[\x20-\x7e]+$/.test(value)) return value
  throw new AppError('invalid', `The header ${name} must be one line of at most ${MAX_CLAIM_LENGTH} ASCII characters`)
}
