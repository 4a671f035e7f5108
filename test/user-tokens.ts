import { createHmac, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, SignJWT } from 'jose'
import { onTestFinished } from 'vitest'
import type { AppError } from '../src/core/errors.ts'
import type { UserTokens } from '../src/http/user-token.ts'

export const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export const signature = (text: string, secret: string | Buffer, hash = 'sha256'): string =>
  createHmac(hash, secret).update(text).digest('base64url')

export const signed = (header: object, payload: object, secret: string | Buffer, hash?: string): string => {
  const text = `${part(header)}.${part(payload)}`
  return `${text}.${signature(text, secret, hash)}`
}

export const oct = (key: Buffer): object => ({ kty: 'oct', k: key.toString('base64url') })

export const jwk = async (key: KeyObject, extra: object): Promise<object> => ({ ...(await exportJWK(key)), ...extra })

export const byKey = (key: KeyObject, header: { alg: string } & Record<string, unknown>): Promise<string> =>
  new SignJWT({ iss: 'us', aud: 'inbox' })
    .setProtectedHeader(header)
    .setSubject('ann')
    .setExpirationTime('10m')
    .sign(key)

export const refusal = (tokens: UserTokens, token: string): Promise<AppError> =>
  tokens.verify(token).then(
    () => {
      throw new Error('The token was taken for right')
    },
    (error: AppError) => error,
  )

/** An issuer's key set over HTTP. */
export async function jwksServer(keys: object[], answer: { status: number; body?: string } = { status: 200 }) {
  let requests = 0
  const server = createServer((_request, response) => {
    requests++
    response.writeHead(answer.status, { 'content-type': 'application/json', location: '/elsewhere' })
    response.end(answer.body ?? JSON.stringify({ keys: issuer.keys }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const issuer = {
    keys,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    requests: () => requests,
  }
  return issuer
}
