import type { Logger } from 'pino'
import type { App } from '../app.ts'
import { configOfProcess, terminalLanguage, type Config } from '../config.ts'
import { logger } from '../log.ts'
import { apiKeyFile } from '../secrets.ts'
import { banner } from './banner.ts'
import { tell } from './print.ts'

/** `eventcenter serve`: runs this process's roles until a signal ends it. */
export async function serve(roles: readonly string[]): Promise<void> {
  const config = configOfProcess(roles.length === 0 ? {} : { ROLES: roles.join(','), ROLES_FILE: undefined })
  const log = logger(config.LOG_LEVEL)
  const { startApp } = await import('../app.ts')
  const starting = startApp(config, { log })
  endWithProcess(starting, config, log)
  const app = await starting
  tell(
    banner(
      {
        url: config.PUBLIC_URL ?? app.url,
        isApi: config.ROLES.includes('api'),
        hasDemo: config.DEMO,
        channels: Object.keys(config.channels),
        apiKey: app.apiKey,
        apiKeyFile: apiKeyFile(config.DATA_DIR),
        isFirstStart: app.firstStart,
      },
      terminalLanguage(),
    ),
  )
}

/** npm passes Ctrl-C on to a process that the terminal has told already. What comes so soon is no second wish. */
const ECHO_MILLISECONDS = 1000

/** After the drain's own time, for closing what it has cut off. */
const GRACE_SECONDS = 5

/**
 * Ends the app when the process shall end: the first signal drains it, the second ends everything at once. An error that
 * nobody handled leaves the process in an unknown state, so it ends too. Whatever is cut off is taken over later by
 * whoever finds its lease ended.
 */
function endWithProcess(starting: Promise<App>, { SHUTDOWN_SECONDS }: Config, log: Logger): void {
  let isEnding = false
  let firstSignalAt = -Infinity

  const end = async (exitCode: number): Promise<void> => {
    isEnding = true
    setTimeout(
      () => {
        log.error({ shutdownSeconds: SHUTDOWN_SECONDS }, 'shutdown took too long')
        process.exit(1)
      },
      (SHUTDOWN_SECONDS + GRACE_SECONDS) * 1000,
    ).unref()
    try {
      const app = await starting
      await app.close()
    } catch (err) {
      log.error({ err }, 'shutdown failed')
      process.exit(1)
    }
    log.info('stopped')
    process.exit(exitCode)
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (performance.now() - firstSignalAt < ECHO_MILLISECONDS) return
      if (isEnding) process.exit(1)
      firstSignalAt = performance.now()
      log.info({ signal }, 'stopping')
      void end(0)
    })
  }
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (err: unknown) => {
      if (isEnding) return // one broken thing breaks others, and the first one tells why
      log.fatal({ err }, 'unhandled error')
      void end(1)
    })
  }
}
