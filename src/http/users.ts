import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { Channel } from '../channels/channel.ts'
import { AppError, invalidField } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { Ports } from '../ports.ts'
import { deleteUser, findUser, putUsers, type UserChange } from '../store/directory-user.ts'
import { serviceCaller } from './access.ts'

/**
 * `/api/v1/users`: the directory, as far as it is kept here. Each installed channel that has addresses adds a property
 * of its own name, with one address or a list.
 */
export const userRoutes =
  ({ db, channels }: Pick<Ports, 'db' | 'channels'>): FastifyPluginAsyncZod =>
  async (app) => {
    const tags = ['Users']
    const addresses = addressProperties(channels)
    const properties = { ...PROPERTIES, ...addresses }
    const userBody = z.strictObject(properties)
    const batchBody = z.strictObject({
      users: z
        .array(z.strictObject({ user_id: writtenUserId, ...properties }))
        .min(1)
        .max(1000),
    })

    app.put('/api/v1/users/:user_id', {
      config: { access: { scope: 'users:write' } },
      schema: {
        tags,
        summary: 'Create or change a user',
        description: 'What is absent stays as it was; null takes it away. A list of addresses replaces the one before.',
        params: userParams,
        body: userBody,
        response: { 200: userSchema },
      },
      handler: async (request) => {
        const { companyId } = serviceCaller(request)
        await putUsers(db, companyId, [changeOf(request.params.user_id, request.body, addresses)])
        return found(await findUser(db, companyId, request.params.user_id))
      },
    })

    app.post('/api/v1/users/batch', {
      config: { access: { scope: 'users:write' } },
      bodyLimit: BATCH_LIMIT_BYTES,
      schema: {
        tags,
        summary: 'Create or change up to 1,000 users, all or none',
        body: batchBody,
        response: { 200: z.object({ users: z.int() }) },
      },
      handler: async (request) => {
        const users = request.body.users.map(({ user_id, ...rest }) => changeOf(user_id, rest, addresses))
        const ids = users.map(({ user_id }) => user_id)
        const again = ids.findIndex((id, index) => ids.indexOf(id) !== index)
        if (again !== -1) throw invalidField(`users[${again}].user_id`, 'is in the list twice')
        await putUsers(db, serviceCaller(request).companyId, users)
        return { users: users.length }
      },
    })

    app.get('/api/v1/users/:user_id', {
      config: { access: { scope: 'users:read' } },
      schema: {
        tags,
        summary: 'What the directory knows of a user',
        params: userParams,
        response: { 200: userSchema },
      },
      handler: async (request) => found(await findUser(db, serviceCaller(request).companyId, request.params.user_id)),
    })

    app.delete('/api/v1/users/:user_id', {
      config: { access: { scope: 'users:write' } },
      schema: {
        tags,
        summary: 'Erase a user: profile and addresses',
        params: userParams,
        response: { 204: z.undefined() },
      },
      handler: async (request, reply) => {
        const isErased = await deleteUser(db, serviceCaller(request).companyId, request.params.user_id)
        return isErased ? reply.code(204).send() : found(null)
      },
    })
  }

const BATCH_LIMIT_BYTES = 4 * 1024 * 1024
const MAX_ADDRESSES = 10
const MAX_PROFILE_BYTES = 16 * 1024

const userId = z
  .string()
  .min(1)
  .max(200)
  .regex(/^\P{Cc}+$/u, 'must not hold control characters')
/** Kept as text, also from services whose ids are numbers. */
const writtenUserId = z.union([userId, z.int().transform(String)])
const userParams = z.strictObject({ user_id: userId })

const PROPERTIES = {
  locale: z
    .string()
    .max(35)
    .refine(isLocale, 'expected a language tag (BCP 47) such as ru or en-GB')
    .nullable()
    .optional(),
  time_zone: z.string().max(64).refine(isTimeZone, 'expected a time zone such as Europe/Moscow').nullable().optional(),
  profile: z
    .record(z.string().max(100), z.json())
    .refine(
      (profile) => Buffer.byteLength(JSON.stringify(profile)) <= MAX_PROFILE_BYTES,
      'must not be larger than 16 KB',
    )
    .optional()
    .describe('Anything about the user that templates may say.'),
}

const userSchema = z
  .object({
    user_id: z.string(),
    locale: z.string().nullable(),
    time_zone: z.string().nullable(),
    profile: z.record(z.string(), z.unknown()),
    addresses: z.array(
      z.object({ channel: z.string(), value: z.string(), state: z.enum(['active', 'blocked', 'suppressed']) }),
    ),
  })
  .meta({ id: 'User' })

type AddressProperties = Record<string, z.ZodType<string[] | undefined>>

/** One address or a list of them, each in its channel's canonical form afterwards; null or an empty list: none. */
function addressProperties(channels: ReadonlyMap<string, Channel>): AddressProperties {
  const properties: AddressProperties = {}
  for (const channel of channels.values()) {
    if (!channel.parseAddress) continue
    const address = z.string().transform((text, context) => {
      const parsed = channel.parseAddress?.(text) ?? null
      if (parsed === null)
        context.addIssue({ code: 'custom', message: `expected an address of the channel ${channel.name}` })
      return parsed ?? z.NEVER
    })
    properties[channel.name] = z
      .union([z.array(address).max(MAX_ADDRESSES), address, z.null()])
      .transform((value) => [...new Set([value ?? []].flat())])
      .optional()
      .describe('One address, or all of them in a list.')
  }
  return properties
}

type Body = {
  locale?: string | null | undefined
  time_zone?: string | null | undefined
  profile?: JsonObject | undefined
}

function changeOf(id: string, body: Body, properties: AddressProperties): UserChange {
  const { locale, time_zone, profile, ...rest } = body
  const addresses = Object.entries(rest).filter(([name, list]) => Object.hasOwn(properties, name) && list !== undefined)
  return {
    user_id: id,
    ...(locale !== undefined && { locale: canonical(locale) }),
    ...(time_zone !== undefined && { time_zone }),
    ...(profile !== undefined && { profile }),
    ...(addresses.length > 0 && { addresses: Object.fromEntries(addresses) as Record<string, string[]> }),
  }
}

const canonical = (locale: string | null): string | null =>
  locale === null ? null : (Intl.getCanonicalLocales(locale)[0] ?? null)

function isLocale(text: string): boolean {
  try {
    return Intl.getCanonicalLocales(text).length === 1
  } catch {
    return false
  }
}

/** By name only: offsets such as +03:00 know nothing of summer time. */
function isTimeZone(text: string): boolean {
  try {
    return /^[A-Za-z]/.test(text) && Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

function found<User>(user: User | null): User {
  if (user !== null) return user
  throw new AppError('not-found', 'The directory knows no user with this id')
}
