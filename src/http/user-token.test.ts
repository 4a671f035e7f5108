import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, expect, suite, test, vi } from 'vitest'
import { oct, part, refusal, signature, signed } from '../../test/user-tokens.ts'
import { userTokens } from './user-token.ts'

const SECRET = 'the secret of these tests, 32 bytes and more'
const now = (): number => Math.floor(Date.now() / 1000)
const later = (): number => now() + 600

afterEach(() => {
  vi.useRealTimers()
})

suite('a user token signed by secret', () => {
  test('tells who the user is', async () => {
    const tokens = userTokens({ secret: SECRET })
    const claims = { sub: 'ann', company_id: 'acme', roles: ['client'], exp: later() }

    const user = await tokens.verify(hs256(claims))

    expect(user).toEqual({
      userId: 'ann',
      companyId: 'acme',
      roles: ['client'],
      expiresAt: new Date(claims.exp * 1000),
    })
  })

  test('may name the user by a number, and needs neither company nor roles', async () => {
    const user = await userTokens({ secret: SECRET }).verify(hs256({ sub: 42, company_id: 7, exp: later() }))

    expect(user).toMatchObject({ userId: '42', companyId: '7', roles: [] })
  })

  test('is made by sign, and verified', async () => {
    const tokens = userTokens({ secret: SECRET }, { issuer: 'https://us', audience: 'inbox' })

    const token = await tokens.sign!({ userId: 'ann', companyId: 'acme', seconds: 60 })

    const user = await tokens.verify(token)
    expect(user).toMatchObject({ userId: 'ann', companyId: 'acme' })
    expect(user.expiresAt.getTime() - Date.now()).toBeGreaterThan(55_000)
  })

  test('may be 30 seconds past its end, because clocks differ, and no more', async () => {
    const tokens = userTokens({ secret: SECRET })

    await expect(tokens.verify(hs256({ sub: 'ann', exp: now() - 25 }))).resolves.toBeTruthy()
    await expect(tokens.verify(hs256({ sub: 'ann', exp: now() - 35 }))).rejects.toThrow('has expired')
    await expect(tokens.verify(hs256({ sub: 'ann', exp: later(), nbf: now() + 25 }))).resolves.toBeTruthy()
  })

  test('that was verified before is refused again once it has expired', async () => {
    const tokens = userTokens({ secret: SECRET })
    const token = hs256({ sub: 'ann', exp: now() + 5 })
    await tokens.verify(token)

    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 40_000 })

    await expect(tokens.verify(token)).rejects.toThrow('has expired')
  })

  test('does not lend its verification to one with the same beginning', async () => {
    const tokens = userTokens({ secret: SECRET })
    const token = hs256({ sub: 'ann', exp: later() })
    await tokens.verify(token)
    const [header, , signature] = token.split('.')

    const forged = `${header}.${part({ sub: 'admin', exp: later() })}.${signature}`

    await expect(tokens.verify(forged)).rejects.toThrow('is not signed by a known key')
  })
})

const claims = { sub: 'ann', iss: 'us', aud: 'inbox', exp: later() }
const without = (name: keyof typeof claims): object => ({ ...claims, [name]: undefined })
const hs = { alg: 'HS256' }
const embedded = randomBytes(32)
const good = (): string => hs256(claims)

const FORGED: [string, () => string][] = [
  ...['none', 'None', 'NONE', 'nOnE', ''].map((alg): [string, () => string] => [
    `alg ${alg || 'empty'} without signature`,
    () => `${part({ alg })}.${part(claims)}.`,
  ]),
  ['alg none with a signature', () => signed({ alg: 'none' }, claims, SECRET)],
  ['no alg', () => signed({ typ: 'JWT' }, claims, SECRET)],
  ['alg as a list', () => signed({ alg: ['HS256'] }, claims, SECRET)],
  ['HS256 in lower case', () => signed({ alg: 'hs256' }, claims, SECRET)],
  ['HS384', () => signed({ alg: 'HS384' }, claims, SECRET, 'sha384')],
  ['HS512', () => signed({ alg: 'HS512' }, claims, SECRET, 'sha512')],
  ['another secret', () => signed(hs, claims, 'another secret of 32 bytes or more!!')],
  ['an empty secret', () => signed(hs, claims, '')],
  ['the secret with a space before it', () => signed(hs, claims, ` ${SECRET}`)],
  ['RS256 header over an HMAC', () => signed({ alg: 'RS256' }, claims, SECRET)],
  ['no signature', () => good().replace(/[^.]+$/, '')],
  ['a cut-off signature', () => good().slice(0, -5)],
  ['a cut-off token', () => good().slice(0, 40)],
  ['one part only', () => part(hs)],
  ['four parts', () => `${good()}.e30`],
  ['five parts', () => `${good()}.e30.e30`],
  ['a space before', () => ` ${good()}`],
  ['a line break after', () => `${good()}\n`],
  ['nothing', () => ''],
  ['more than 8 KB', () => hs256({ ...claims, pad: 'x'.repeat(9000) })],
  ['a payload that is no JSON', () => raw(`${part(hs)}.${Buffer.from('{').toString('base64url')}`)],
  ['a payload that is a list', () => raw(`${part(hs)}.${part([claims])}`)],
  ['a payload that is null', () => raw(`${part(hs)}.${part(null)}`)],
  ['a header that is no JSON', () => raw(`e30x.${part(claims)}`)],
  ['an expired time', () => hs256({ ...claims, exp: now() - 60 })],
  ['no exp', () => hs256(without('exp'))],
  ['exp as text', () => hs256({ ...claims, exp: String(later()) })],
  ['exp null', () => hs256({ ...claims, exp: null })],
  ['nbf to come', () => hs256({ ...claims, nbf: now() + 120 })],
  ['nbf as text', () => hs256({ ...claims, nbf: 'soon' })],
  ['no sub', () => hs256(without('sub'))],
  ['an empty sub', () => hs256({ ...claims, sub: '' })],
  ['sub null', () => hs256({ ...claims, sub: null })],
  ['sub as an object', () => hs256({ ...claims, sub: { id: 'ann' } })],
  ['sub with a fraction', () => hs256({ ...claims, sub: 1.5 })],
  ['sub larger than numbers are exact', () => hs256({ ...claims, sub: 2 ** 60 })],
  ['sub with a line break', () => hs256({ ...claims, sub: 'ann\nbob' })],
  ['sub of 201 letters', () => hs256({ ...claims, sub: 'a'.repeat(201) })],
  ['an empty company', () => hs256({ ...claims, company_id: '' })],
  ['roles as text', () => hs256({ ...claims, roles: 'admin' })],
  ['roles with an object', () => hs256({ ...claims, roles: [{}] })],
  ['another issuer', () => hs256({ ...claims, iss: 'them' })],
  ['no issuer', () => hs256(without('iss'))],
  ['another audience', () => hs256({ ...claims, aud: 'admin' })],
  ['no audience', () => hs256(without('aud'))],
  ['an unknown crit', () => signed({ ...hs, crit: ['x'], x: 1 }, claims, SECRET)],
  ['an empty crit', () => signed({ ...hs, crit: [] }, claims, SECRET)],
  ['crit b64 with an unencoded payload', () => signed({ ...hs, crit: ['b64'], b64: false }, claims, SECRET)],
  ['a logout token', () => signed({ ...hs, typ: 'logout+jwt' }, claims, SECRET)],
  ['a key inside (jwk)', () => signed({ ...hs, jwk: oct(embedded) }, claims, embedded)],
  ['a kid that names a file', () => signed({ ...hs, kid: '../../dev/null' }, claims, '')],
  ['a kid that is SQL', () => signed({ ...hs, kid: "x' union select 'key' --" }, claims, 'key')],
]

suite('a forged user token', () => {
  const tokens = userTokens({ secret: SECRET }, { issuer: 'us', audience: 'inbox' })

  test('differs from this one, which is right', async () => {
    await expect(tokens.verify(good())).resolves.toMatchObject({ userId: 'ann' })
  })

  test.each(FORGED)('is refused: %s', async (_name, forge) => {
    const token = forge()

    const error = await refusal(tokens, token)

    expect(error).toMatchObject({ name: 'AppError', code: 'unauthorized' })
    expect(error.message).toMatch(/^The user token /)
    for (const piece of token.split('.').filter(({ length }) => length > 8)) expect(error.message).not.toContain(piece)
  })

  test('is refused whatever the text', async () => {
    const anyPart = fc.oneof(
      fc.base64String(),
      fc.json().map((text) => Buffer.from(text).toString('base64url')),
    )
    const anyToken = fc.oneof(
      fc.string(),
      fc.tuple(anyPart, anyPart, anyPart).map((parts) => parts.join('.')),
    )

    await fc.assert(
      fc.asyncProperty(anyToken, async (token) => (await refusal(tokens, token)).code === 'unauthorized'),
      { numRuns: 500 },
    )
  })
})

const raw = (text: string): string => `${text}.${signature(text, SECRET)}`

const hs256 = (payload: object): string => signed({ alg: 'HS256', typ: 'JWT' }, payload, SECRET)
