import type { AddressInfo } from 'node:net'
import type { Config } from './config.ts'
import { gateway } from './gateway/gateway.ts'
import { authenticator, environmentKeys } from './http/authenticate.ts'
import { connectionRoutes } from './http/connections.ts'
import { deadLetterRoutes } from './http/dead-letters.ts'
import { demoKey, type Demo } from './http/demo.ts'
import { eventRoutes } from './http/events.ts'
import { eventTypeRoutes } from './http/event-types.ts'
import { keyRoutes } from './http/keys.ts'
import { notificationRoutes } from './http/notifications.ts'
import { operationsRoutes } from './http/operations.ts'
import { outboxRoutes } from './http/outbox.ts'
import { pageRoutes } from './http/pages.ts'
import type { Readiness } from './http/ready.ts'
import { replayRoutes } from './http/replays.ts'
import { httpServer } from './http/server.ts'
import { templateRoutes } from './http/templates.ts'
import { userTokens } from './http/user-token.ts'
import { userRoutes } from './http/users.ts'
import type { Ports } from './ports.ts'
import type { Accepts } from './store/coalesced-accepts.ts'
import { tokenKeys, type EffectiveSecrets } from './secrets.ts'

export type Web = {
  /** Where it listens, as this machine reaches it. */
  url: string
  /** Takes nothing new, moves the live sessions elsewhere, and waits for requests in progress. */
  close: (seconds: number) => Promise<void>
}

/** The one port: operations always, API, pages and WebSocket as far as this process's roles ask for them. */
export async function startWeb(
  ports: Ports & { accepts: Accepts },
  config: Config,
  secrets: EffectiveSecrets,
  readiness: Readiness[],
): Promise<Web> {
  const tokens = userTokens(tokenKeys(config, secrets), { issuer: config.JWT_ISSUER, audience: config.JWT_AUDIENCE })
  const state = { url: '', isClosing: false }
  const publicUrl = (): string => config.PUBLIC_URL ?? state.url
  readiness.push({
    name: 'running',
    check: async () => {
      if (state.isClosing) throw new Error('shutting down')
    },
  })

  const { sign } = tokens
  const demo: Demo | null = config.DEMO && sign ? { key: demoKey(), sign } : null
  const fixedKeys = [...environmentKeys(config.API_KEYS), ...(demo ? [demo.key] : [])]
  const app = httpServer(ports, {
    authenticate: authenticator(ports, tokens, fixedKeys),
    allowedOrigins: config.ALLOWED_ORIGINS,
    ...(config.TRUST_PROXY !== undefined && { trustProxy: config.TRUST_PROXY }),
    limits: {
      servicePerMinute: config.RATE_LIMIT_SERVICE_PER_MINUTE,
      userPerMinute: config.RATE_LIMIT_USER_PER_MINUTE,
    },
  })
  await app.register(operationsRoutes(ports, readiness))
  if (config.ROLES.includes('api')) {
    await app.register(eventRoutes(ports, { publicUrl, maxWaitingAccepts: config.MAX_WAITING_ACCEPTS }))
    await app.register(notificationRoutes(ports))
    await app.register(eventTypeRoutes(ports))
    await app.register(templateRoutes(ports))
    await app.register(userRoutes(ports))
    await app.register(keyRoutes(ports))
    await app.register(outboxRoutes(ports))
    await app.register(deadLetterRoutes(ports, { publicUrl, defaultLocale: config.DEFAULT_LOCALE }))
    await app.register(replayRoutes(ports))
    await app.register(pageRoutes({ demo, publicUrl }))
  }

  const live = config.ROLES.includes('gateway')
    ? await gateway(ports, {
        verify: (token) => tokens.verify(token),
        allowedOrigins: [...config.ALLOWED_ORIGINS, ...(config.PUBLIC_URL ? [new URL(config.PUBLIC_URL).origin] : [])],
        ...(config.TRUST_PROXY !== undefined && { trustedProxies: config.TRUST_PROXY }),
      })
    : null
  live?.attach(app.server)
  if (live) await app.register(connectionRoutes(live))
  await app.listen({ host: config.HOST, port: config.PORT })
  state.url = urlOf(config.HOST, app.server.address() as AddressInfo)

  return {
    url: state.url,
    async close(seconds) {
      state.isClosing = true
      // A caller who never ends his request must not hold the others' shutdown.
      const cut = setTimeout(() => app.server.closeAllConnections(), seconds * 1000)
      await Promise.all([app.close(), live?.close(seconds)])
      clearTimeout(cut)
    },
  }
}

function urlOf(host: string, { port }: AddressInfo): string {
  if (['0.0.0.0', '::'].includes(host)) return `http://localhost:${port}`
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
