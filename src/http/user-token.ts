import { createHash } from 'node:crypto'
import { createRemoteJWKSet, errors, jwtVerify, SignJWT, type JWTPayload, type JWTVerifyOptions } from 'jose'
import { AppError } from '../core/errors.ts'

/** What a valid token says of its bearer. */
export type VerifiedUser = { userId: string; companyId: string; roles: string[]; expiresAt: Date }

export type TokenKeys = { secret: string } | { jwksUrl: string }
export type TokenRules = { issuer?: string | undefined; audience?: string | undefined }

export type UserTokens = {
  /** Throws `unauthorized`, or `unavailable` when the issuer's keys cannot be fetched now. */
  verify: (token: string) => Promise<VerifiedUser>
  /** Makes a token. Only with a secret: the keys behind a JWKS URL are the issuer's. */
  sign?: (claims: { userId: string; companyId?: string; roles?: string[]; seconds: number }) => Promise<string>
}

/** Clocks of issuers may differ from ours by this much. */
const LEEWAY_SECONDS = 30
const MAX_TOKEN_LENGTH = 8192
const MAX_CACHED = 10_000
/** A key that an issuer withdraws counts no longer than this. */
const MAX_CACHED_MS = 60_000

/**
 * Verifies the tokens of end users. Which algorithms count follows from the keys alone, never from the token: HS256 for
 * a secret, signatures of public keys for a JWKS, whose keys each have their own type. Keys inside a token are ignored.
 */
export function userTokens(keys: TokenKeys, rules: TokenRules = {}): UserTokens {
  const options: JWTVerifyOptions = {
    algorithms: 'secret' in keys ? ['HS256'] : ['RS256', 'ES256', 'EdDSA', 'Ed25519'],
    requiredClaims: ['exp', 'sub'],
    clockTolerance: LEEWAY_SECONDS,
    ...(rules.issuer !== undefined && { issuer: rules.issuer }),
    ...(rules.audience !== undefined && { audience: rules.audience }),
  }
  const check = checker(keys, options)
  const cache = new Map<string, { user: VerifiedUser; untilMs: number }>()

  const verify = async (token: string): Promise<VerifiedUser> => {
    if (token.length > MAX_TOKEN_LENGTH) throw unauthorized('is too long')
    // The library skips white space, and one token must have one spelling.
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw unauthorized('is malformed')
    const fingerprint = createHash('sha256').update(token).digest('base64')
    const known = cache.get(fingerprint)
    if (known && known.untilMs > Date.now()) return known.user
    cache.delete(fingerprint)

    const user = userOf(await check(token))
    const untilMs = Math.min(Date.now() + MAX_CACHED_MS, user.expiresAt.getTime() + LEEWAY_SECONDS * 1000)
    const oldest = cache.size >= MAX_CACHED ? cache.keys().next().value : undefined
    if (oldest !== undefined) cache.delete(oldest)
    cache.set(fingerprint, { user, untilMs })
    return user
  }
  return 'secret' in keys ? { verify, sign: signer(keys.secret, rules) } : { verify }
}

function checker(keys: TokenKeys, options: JWTVerifyOptions): (token: string) => Promise<JWTPayload> {
  const key = 'secret' in keys ? Buffer.from(keys.secret) : createRemoteJWKSet(new URL(keys.jwksUrl))
  return async (token) => {
    try {
      const { payload, protectedHeader } =
        typeof key === 'function' ? await jwtVerify(token, key, options) : await jwtVerify(token, key, options)
      const { typ } = protectedHeader
      // Other kinds of signed messages (logout, security events, proofs) are no tokens of a user.
      if (typ !== undefined && !/^(application\/)?(at\+)?jwt$/i.test(typ)) throw unauthorized('is of another kind')
      return payload
    } catch (error) {
      throw tokenError(error)
    }
  }
}

const signer =
  (secret: string, { issuer, audience }: TokenRules): NonNullable<UserTokens['sign']> =>
  ({ userId, companyId, roles, seconds }) => {
    const now = Math.floor(Date.now() / 1000)
    const token = new SignJWT({
      ...(companyId && { company_id: companyId }),
      ...(roles && roles.length > 0 && { roles }),
    })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setSubject(userId)
      .setIssuedAt(now)
      .setExpirationTime(now + seconds)
    if (issuer !== undefined) token.setIssuer(issuer)
    if (audience !== undefined) token.setAudience(audience)
    return token.sign(Buffer.from(secret))
  }

function userOf(payload: JWTPayload): VerifiedUser {
  const roles = payload['roles'] ?? []
  const { exp } = payload
  if (exp === undefined) throw unauthorized('has no `exp`')
  if (!Array.isArray(roles) || !roles.every((role) => typeof role === 'string')) {
    throw unauthorized('must have a list of texts in `roles`')
  }
  return {
    userId: idOf('sub', payload.sub),
    companyId: payload['company_id'] === undefined ? '' : idOf('company_id', payload['company_id']),
    roles,
    expiresAt: new Date(exp * 1000),
  }
}

/** Ids are texts; issuers whose ids are numbers write them as such. */
function idOf(claim: string, value: unknown): string {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  if (typeof value === 'string' && value !== '' && value.length <= 200 && !/\p{Cc}/u.test(value)) return value
  throw unauthorized(`must have an id in \`${claim}\``)
}

/** Says what is wrong in our own words: the library's would repeat parts of the token. */
function tokenError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (error instanceof errors.JWTExpired) return unauthorized('has expired')
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'nbf') return unauthorized('is not valid yet')
    return unauthorized(`has a missing or wrong \`${error.claim}\``)
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return unauthorized('is signed in a way that is not allowed')
  if (error instanceof errors.JWSSignatureVerificationFailed) return unauthorized('is not signed by a known key')
  if (error instanceof errors.JWKSNoMatchingKey) return unauthorized('is not signed by a known key')
  if (error instanceof errors.JWKSMultipleMatchingKeys) return unauthorized('must name its key in `kid`')
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return unauthorized('is malformed')
  if (error instanceof errors.JOSENotSupported) return unauthorized('needs something that is not supported')
  return new AppError('unavailable', 'The keys that sign user tokens cannot be fetched now', {
    cause: error,
    retryAfterSeconds: 5,
  })
}

const unauthorized = (reason: string): AppError => new AppError('unauthorized', `The user token ${reason}`)
