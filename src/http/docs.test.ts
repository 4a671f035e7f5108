import { gunzipSync } from 'node:zlib'
import { afterAll, expect, suite, test } from 'vitest'
import { z } from 'zod'
import { serverWith } from '../../test/http.ts'

const app = serverWith(async (app) => {
  app.put('/things/:id', {
    config: { access: { scope: 'events:write' }, refusals: ['conflict', 'mismatch'] },
    schema: {
      summary: 'Keep a thing',
      params: z.strictObject({ id: z.string() }),
      body: z.strictObject({ size: z.union([z.string().transform(Number), z.number()]), any: z.json() }),
      response: { 204: z.undefined() },
    },
    handler: (_request, reply) => reply.code(204).send(),
  })
  app.get('/mine', { config: { access: 'user' }, schema: { summary: 'Mine' } }, () => 'x')
})
afterAll(() => app.close())

suite('the description of the API', () => {
  test('says of each route who may call it, what it takes, and how it answers errors', async () => {
    const document = (await app.inject('/openapi.json')).json()

    expect(document.openapi).toBe('3.1.0')
    const { put } = document.paths['/things/{id}']
    expect(put.security).toEqual([{ apiKey: ['events:write'] }])
    expect(document.paths['/mine'].get.security).toEqual([{ userToken: [] }])
    expect(put.requestBody.content['application/json'].schema.properties).toEqual({
      size: { type: ['string', 'number'] },
      any: {},
    })
    const refusals = ['400', '401', '403', '404', '409', '413', '415', '422', '429', '503']
    expect(Object.keys(put.responses)).toEqual(['204', ...refusals])
    expect(Object.keys(document.paths['/mine'].get.responses)).toEqual(['400', '401', '403', '429', '503'])
  })

  test('refers to nothing that it does not hold', async () => {
    const text = (await app.inject('/openapi.json')).body
    const { schemas } = JSON.parse(text).components

    const names = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]*)"/g)].map(([, name]) => name)

    expect(new Set(names)).toEqual(new Set(Object.keys(schemas)))
  })

  test('begins with the events', async () => {
    const document = (await app.inject('/openapi.json')).json()

    expect(document.tags[0]).toEqual({ name: 'Events' })
  })

  test('has a page that runs nothing but our own files', async () => {
    const page = await app.inject('/docs')
    const sources = [...page.body.matchAll(/src="([^"]*)"/g)].map(([, source]) => source ?? '')

    expect(page.headers['content-security-policy']).toContain("script-src 'self';")
    expect(sources).toEqual(['/docs/scalar.js', '/docs/start.js'])
    expect(page.body).not.toMatch(/https?:\/\//)
    expect(page.body).toContain('rel="icon"') // else the browser asks for one, and complains
    const script = await app.inject(sources[0] ?? '')
    expect(gunzipSync(script.rawPayload).toString()).toContain('createApiReference')
  })
})
