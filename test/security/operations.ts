import { startTestApp, type TestApp } from '../app.ts'

export type Schema = {
  $ref?: string
  anyOf?: Schema[]
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: false | Schema
}

/** A route as the documentation of the running server has it. */
export type Operation = {
  /** `POST /api/v1/events` */
  name: string
  method: string
  path: string
  /** `public`, `user`, or the scope that a key must have. */
  access: string
  /** Names in the path. */
  params: string[]
  body: Schema | null
  /** Names in the query. */
  query: string[]
}

export type Documented = { operations: Operation[]; schemas: Record<string, Schema> }

/**
 * The server with its API alone, so that nothing changes rows but the requests of the tests. Each request can come from
 * an address of its own, so that the limits of one address do not hide other answers.
 */
export const startApi = (): Promise<TestApp> =>
  startTestApp({
    ROLES: 'api',
    TRUST_PROXY: '1',
    RATE_LIMIT_USER_PER_MINUTE: '1000000',
    RATE_LIMIT_SERVICE_PER_MINUTE: '1000000',
  })

let address = 0
export const fromSomewhere = (): Record<string, string> => {
  address += 1
  return { 'x-forwarded-for': `10.${(address >> 16) & 255}.${(address >> 8) & 255}.${address & 255}` }
}

type Document = {
  paths: Record<
    string,
    Record<
      string,
      {
        security?: Record<string, string[]>[]
        parameters?: { in: string; name: string }[]
        requestBody?: { content: Record<string, { schema: Schema }> }
      }
    >
  >
  components: { schemas: Record<string, Schema> }
}

/** Every route, from the documentation that the running server makes of itself. */
export async function documented(server: TestApp): Promise<Documented> {
  const document = (await server.call('GET', '/openapi.json')).body as Document
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security = [], parameters = [], requestBody }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      access: security[0] === undefined ? 'public' : (security[0]['apiKey']?.[0] ?? 'user'),
      params: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? ''),
      body: requestBody?.content['application/json']?.schema ?? null,
      query: parameters.filter((it) => it.in === 'query').map(({ name }) => name),
    })),
  )
  return { operations, schemas: document.components.schemas }
}

/** The path with the same value for each of its names. */
export const filled = ({ path }: Operation, value = 'x'): string =>
  path.replaceAll(/\{\w+\}/g, encodeURIComponent(value))
