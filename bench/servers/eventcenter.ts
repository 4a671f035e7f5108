/** The product as it is served, plus a channel that sends nothing. Its settings come from the environment. */
import { startApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { logger } from '../../src/log.ts'
import { noop } from '../systems/noop-channel.ts'
import { serveParent } from './serve-parent.ts'

const settings = {
  ...process.env,
  PORT: '0',
  JWT_SECRET: 'a secret of the bench, thirty-two bytes or more',
  RATE_LIMIT_SERVICE_PER_MINUTE: '100000000',
}
const noFile = (): never => {
  throw new Error('the bench names no files')
}
const config = readConfig(settings, noFile, [noop])
const app = await startApp(config, { log: logger(config.LOG_LEVEL), channels: [noop] })
serveParent(app.url, () => app.close())
