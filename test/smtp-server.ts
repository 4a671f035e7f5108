import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { SMTPServer } from 'smtp-server'

export type ReceivedMail = {
  from: string
  to: string[]
  /** The message exactly as it came. */
  raw: string
  /** It came over TLS. */
  isSecure: boolean
  /** Who had logged in. */
  user: string | null
}

type Options = {
  /** TLS from the first byte, with a home-made certificate. */
  isSecure?: boolean
  /** Demands this login, and STARTTLS before it. */
  login?: { user: string; pass: string }
  /** Refuses a recipient with this reply (550 unless it begins with another code), or takes it where null. */
  refuse?: (recipient: string) => string | null
  /** Does what a server does with a mail that it takes, before it says so; the connection breaks when this rejects. */
  take?: (mail: ReceivedMail) => Promise<void>
}

export type SmtpDouble = {
  port: number
  /** As SMTP_URL, without a login. */
  url: string
  mails: ReceivedMail[]
  /** The first mail that fits, as soon as it is here. */
  mail: (fits?: (mail: ReceivedMail) => boolean) => Promise<ReceivedMail>
  close: () => Promise<void>
}

/** A mail server as strict as real ones are: what breaks the rules of RFC 5321 and 5322 is refused, and says why. */
export async function startSmtpServer({
  isSecure = false,
  login,
  refuse = () => null,
  take,
}: Options = {}): Promise<SmtpDouble> {
  const mails: ReceivedMail[] = []
  const waiting = new Set<() => void>()

  const server = new SMTPServer({
    secure: isSecure,
    banner: 'double',
    closeTimeout: 500,
    authOptional: login === undefined,
    // Without a login a server within the machine offers no TLS, as most do.
    disabledCommands: login === undefined ? ['AUTH', ...(isSecure ? [] : ['STARTTLS'])] : [],
    onAuth: ({ username, password }, _session, callback) =>
      username === login?.user && password === login?.pass
        ? callback(null, { user: username })
        : callback(refusal(535, '5.7.8 Error: authentication failed')),
    onRcptTo: ({ address }, _session, callback) => {
      const reason = refuse(address) ?? (isPlainAddress(address) ? null : '5.1.3 Bad recipient address syntax')
      const [, code = '550', text = ''] = /^(?:([45]\d\d) )?(.*)$/.exec(reason ?? '') ?? []
      callback(reason === null ? null : refusal(Number(code), text))
    },
    onData: (stream, { id, envelope, secure, user }, callback) => {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const bytes = Buffer.concat(chunks)
        const fault = faultOf(bytes.toString('latin1'))
        if (fault !== null) return callback(refusal(554, `5.6.0 ${fault}`))

        const mail = {
          from: envelope.mailFrom ? envelope.mailFrom.address : '',
          to: envelope.rcptTo.map(({ address }) => address),
          raw: bytes.toString('utf8'),
          isSecure: secure,
          user: user ?? null,
        }
        const answer = (): void => {
          mails.push(mail)
          callback(null, `2.0.0 Ok: queued as M${mails.length}${Date.now()}`)
          for (const look of waiting) look()
        }
        if (take) take(mail).then(answer, () => breakOff(server, id))
        else answer()
      })
    },
  })
  server.on('error', () => {}) // clients that vanish; what they were told is asserted by the tests
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo

  return {
    port,
    url: `${isSecure ? 'smtps' : 'smtp'}://127.0.0.1:${port}`,
    mails,
    mail: (fits = () => true) =>
      new Promise((resolve) => {
        const look = (): void => {
          const mail = mails.find(fits)
          if (!mail) return
          waiting.delete(look)
          resolve(mail)
        }
        waiting.add(look)
        look()
      }),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

/** As when the cable is cut: no word of farewell. */
function breakOff(server: SMTPServer, sessionId: string): void {
  const connections = server.connections as Set<{ id: string; _socket: Socket }>
  for (const { id, _socket: socket } of connections) if (id === sessionId) socket.destroy()
}

const refusal = (responseCode: number, message: string): Error => Object.assign(new Error(message), { responseCode })

/** The protocol library has turned punycode into letters by then. */
const isPlainAddress = (address: string): boolean => /^[!-?A-~]{1,64}@[\p{L}\p{M}\p{N}.-]{1,253}$/u.test(address)

/** What must be there once, and no more than once. */
const REQUIRED_HEADERS = ['from', 'to', 'date', 'message-id', 'subject', 'mime-version', 'content-type']

function faultOf(raw: string): string | null {
  if (/(^|[^\r])\n|\r(?!\n)/.test(raw)) return 'Lines must end with CR LF'
  if (raw.split('\r\n').some((line) => line.length > 998)) return 'A line is too long'
  const [head = ''] = raw.split('\r\n\r\n', 1)
  if (/[^\r\n\t\x20-\x7e]/.test(head)) return 'Headers must be ASCII'

  const lines = head.replaceAll(/\r\n[ \t]/g, ' ').split('\r\n')
  if (lines.some((line) => !/^[!-9;-~]+:/.test(line))) return 'A header has no name'
  const names = lines.map((line) => line.slice(0, line.indexOf(':')).toLowerCase())
  const missing = REQUIRED_HEADERS.find((name) => !names.includes(name))
  if (missing !== undefined) return `No header ${missing}`
  const doubled = names.find((name, i) => names.indexOf(name) !== i)
  return doubled === undefined ? null : `Two headers ${doubled}`
}
