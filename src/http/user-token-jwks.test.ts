import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { afterEach, expect, suite, test, vi } from 'vitest'
import { byKey, jwk, jwksServer, oct, refusal, signed } from '../../test/user-tokens.ts'
import { userTokens } from './user-token.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const PEM = rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string

const symmetric = randomBytes(32)
const claims = { sub: 'ann', iss: 'us', aud: 'inbox', exp: Math.floor(Date.now() / 1000) + 600 }

afterEach(() => {
  vi.useRealTimers()
})

suite('a user token signed by an issuer whose keys are fetched', () => {
  test.each([
    ['RS256', () => rsa],
    ['ES256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['EdDSA', () => generateKeyPairSync('ed25519')],
  ])('is valid with %s', async (alg, keyPair) => {
    const { publicKey, privateKey } = keyPair()
    const issuer = await jwksServer([await jwk(publicKey, { kid: 'a', alg })])

    const user = await userTokens({ jwksUrl: issuer.url }).verify(await byKey(privateKey, { alg, kid: 'a' }))

    expect(user.userId).toBe('ann')
  })

  test('cannot be made here', async () => {
    expect(userTokens({ jwksUrl: 'http://127.0.0.1:1/' })).not.toHaveProperty('sign')
  })

  test('is refused when its HMAC is keyed with the public key', async () => {
    const issuer = await jwksServer([await jwk(rsa.publicKey, { kid: 'a' })])
    const tokens = userTokens({ jwksUrl: issuer.url })
    const der = rsa.publicKey.export({ type: 'spki', format: 'der' })

    for (const secret of [PEM, ` ${PEM}`, `\n${PEM}`, PEM.trim(), PEM.replaceAll('\n', '\r\n'), der]) {
      const error = await refusal(tokens, signed({ alg: 'HS256', kid: 'a' }, claims, secret))
      expect(error.message).toBe('The user token is signed in a way that is not allowed')
    }
  })

  test('is refused by HMAC even when the key set holds a symmetric key', async () => {
    const issuer = await jwksServer([{ ...oct(symmetric), kid: 'a', alg: 'HS256' }])

    const error = await refusal(
      userTokens({ jwksUrl: issuer.url }),
      signed({ alg: 'HS256', kid: 'a' }, claims, symmetric),
    )

    expect(error.code).toBe('unauthorized')
  })

  test('is refused with an algorithm that is not its key', async () => {
    const issuer = await jwksServer([
      await jwk(rsa.publicKey, { kid: 'a', alg: 'RS256' }),
      await jwk(rsa.publicKey, { kid: 'any' }),
    ])
    const tokens = userTokens({ jwksUrl: issuer.url })

    for (const alg of ['PS256', 'RS384', 'RS512']) {
      expect((await refusal(tokens, await byKey(rsa.privateKey, { alg, kid: 'a' }))).code).toBe('unauthorized')
      expect((await refusal(tokens, await byKey(rsa.privateKey, { alg, kid: 'any' }))).code).toBe('unauthorized')
    }
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const error = await refusal(tokens, await byKey(other.privateKey, { alg: 'ES256', kid: 'a' }))
    expect(error.message).toBe('The user token is not signed by a known key')
  })

  test('is refused when it brings its own key, and no other address is asked', async () => {
    const own = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const evil = await jwksServer([await jwk(own.publicKey, { kid: 'evil' })])
    const issuer = await jwksServer([await jwk(rsa.publicKey, { kid: 'a' })])
    const tokens = userTokens({ jwksUrl: issuer.url })
    const key = await jwk(own.publicKey, { kid: 'a' })

    for (const header of [
      { kid: 'a', jwk: key },
      { kid: 'evil', jku: evil.url },
      { kid: 'a', x5u: evil.url },
      { kid: evil.url },
      { jwk: key },
    ]) {
      const error = await refusal(tokens, await byKey(own.privateKey, { alg: 'RS256', ...header }))
      expect(error.message).toBe('The user token is not signed by a known key')
    }
    expect(evil.requests()).toBe(0)
  })

  test('must name its key when several fit', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const issuer = await jwksServer([await jwk(rsa.publicKey, { kid: 'a' }), await jwk(other.publicKey, { kid: 'b' })])

    const error = await refusal(userTokens({ jwksUrl: issuer.url }), await byKey(rsa.privateKey, { alg: 'RS256' }))

    expect(error.message).toBe('The user token must name its key in `kid`')
  })

  test('is valid with a new key after the issuer has changed it, and no longer with the old one', async () => {
    const next = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const issuer = await jwksServer([await jwk(rsa.publicKey, { kid: 'a' })])
    const tokens = userTokens({ jwksUrl: issuer.url })
    const old = await byKey(rsa.privateKey, { alg: 'RS256', kid: 'a' })
    await tokens.verify(old)
    issuer.keys = [await jwk(next.publicKey, { kid: 'b' })]

    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 })
    const user = await tokens.verify(await byKey(next.privateKey, { alg: 'RS256', kid: 'b' }))

    expect(user.userId).toBe('ann')
    expect((await refusal(tokens, old)).message).toBe('The user token is not signed by a known key')
  })

  test('asks the issuer once for any number of tokens with unknown keys', async () => {
    const issuer = await jwksServer([await jwk(rsa.publicKey, { kid: 'a' })])
    const tokens = userTokens({ jwksUrl: issuer.url })

    for (let i = 0; i < 20; i++) await refusal(tokens, await byKey(rsa.privateKey, { alg: 'RS256', kid: `x${i}` }))

    expect(issuer.requests()).toBe(1)
  })

  test.each([
    ['answers with an error', 500, '{"keys":[]}'],
    ['answers with something else', 200, '<html>'],
    ['answers with no key set', 200, '{"keys":1}'],
    ['redirects', 302, ''],
  ])('is neither right nor wrong while the issuer %s', async (_name, status, body) => {
    const issuer = await jwksServer([], { status, body })

    const error = await refusal(
      userTokens({ jwksUrl: issuer.url }),
      await byKey(rsa.privateKey, { alg: 'RS256', kid: 'a' }),
    )

    expect(error).toMatchObject({ code: 'unavailable', retryAfterSeconds: 5 })
  })

  test('is neither right nor wrong while the issuer is away', async () => {
    const tokens = userTokens({ jwksUrl: 'http://127.0.0.1:9/' })

    const error = await refusal(tokens, await byKey(rsa.privateKey, { alg: 'RS256', kid: 'a' }))

    expect(error.code).toBe('unavailable')
  })
})
