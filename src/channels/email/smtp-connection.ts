import type { NodemailerError, SMTPConnectionOptions, SMTPPoolOptions } from 'nodemailer'
import SmtpConnection from 'nodemailer/lib/smtp-connection'
import { explain } from './smtp-errors.ts'
import type { SmtpServer } from './smtp-url.ts'

export type SmtpOptions = {
  connections: number
  /** One mail that takes longer, all in all, is given up. */
  timeoutSeconds: number
}

const MAX_RESPONSE_BYTES = 64 * 1024
const MAX_CONNECT_SECONDS = 30

/** How nodemailer keeps connections. */
export function poolOptions(server: SmtpServer, options: SmtpOptions): SMTPPoolOptions & { pool: true } {
  return {
    ...connectionOptions(server, options),
    ...(server.auth && { auth: server.auth, forceAuth: true }),
    pool: true,
    maxConnections: options.connections,
    maxMessages: 100,
    // Only for a connection that the server closed while nobody used it: not a byte of the mail was sent then. More
    // would be attempts behind the back of the attempts log.
    maxRequeues: 1,
    maxRecipients: 1,
    disableFileAccess: true,
    disableUrlAccess: true,
  }
}

/** Connects and logs in, as sending would, and sends nothing. Rejects with what is wrong. */
export async function checkServer(server: SmtpServer, options: SmtpOptions): Promise<void> {
  const connection = new SmtpConnection(connectionOptions(server, options))
  const { promise: isReady, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(TOO_SLOW), options.timeoutSeconds * 1000)
  connection.on('error', reject)
  connection.on('end', () => reject(new Error('closed')))
  connection.connect((error) => {
    if (error) return reject(error)
    if (!server.auth) return resolve()
    connection.login({ credentials: server.auth }, (error) => (error ? reject(error) : resolve()))
  })

  try {
    await isReady
    connection.quit()
  } catch (error) {
    const known = { address: '', wasWritten: false, hasExpired: error === TOO_SLOW }
    throw explain(error as NodemailerError, known).deliveryError
  } finally {
    clearTimeout(timer)
    connection.close()
  }
}

const TOO_SLOW = new Error('too slow')

function connectionOptions(
  { host, port, isSecure, isLoopback, auth }: SmtpServer,
  { timeoutSeconds }: SmtpOptions,
): SMTPConnectionOptions {
  const connectMs = Math.min(timeoutSeconds, MAX_CONNECT_SECONDS) * 1000
  return {
    host,
    port,
    secure: isSecure,
    // Credentials never travel in the clear. Within this machine nobody listens, and its certificates are home-made.
    requireTLS: auth !== null && !isLoopback,
    tls: { rejectUnauthorized: !isLoopback },
    dnsTimeout: connectMs,
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    socketTimeout: timeoutSeconds * 1000,
    socketCloseTimeout: 500,
    maxResponseSize: MAX_RESPONSE_BYTES,
  }
}
