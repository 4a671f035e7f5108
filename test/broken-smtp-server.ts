import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'

/** What a server does where it should answer: says a line, or anything else with the socket. */
export type Answer = string | ((socket: Socket) => void)

/** The points of a conversation where it can go wrong. What is not given goes well. */
export type Script = Partial<
  Record<'banner' | 'ehlo' | 'starttls' | 'auth' | 'mail' | 'rcpt' | 'data' | 'body' | 'end', Answer>
>

export type BrokenSmtpServer = {
  port: number
  url: string
  /** Every command line of every connection. */
  commands: string[]
  /** Whole messages, also those that were refused then. */
  bodies: string[]
  /** Changes what happens from now on. */
  script: Script
  close: () => Promise<void>
}

const GOOD: Record<keyof Script, Answer> = {
  banner: '220 broken ESMTP',
  ehlo: '250-broken\r\n250 ENHANCEDSTATUSCODES',
  starttls: '502 5.5.1 No',
  auth: '235 2.7.0 Welcome',
  mail: '250 2.1.0 Ok',
  rcpt: '250 2.1.5 Ok',
  data: '354 Go on',
  body: () => {},
  end: '250 2.0.0 Ok: queued as BROKEN1',
}

/** A mail server on a real socket that misbehaves exactly as its script says. It never speaks TLS. */
export async function startBrokenSmtpServer(script: Script = {}): Promise<BrokenSmtpServer> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {}) // the client may vanish at any time
    converse(socket, double)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  const double: BrokenSmtpServer = {
    port,
    url: `smtp://127.0.0.1:${port}`,
    commands: [],
    bodies: [],
    script,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return double
}

const END_OF_DATA = '\r\n.\r\n'

function converse(socket: Socket, double: BrokenSmtpServer): void {
  let input = ''
  let isData = false
  const answer = (point: keyof Script): void => {
    const answer = double.script[point] ?? GOOD[point]
    if (typeof answer === 'string') socket.write(`${answer}\r\n`)
    else answer(socket)
  }

  answer('banner')
  socket.on('data', (chunk) => {
    input += chunk.toString('latin1')
    for (;;) {
      const end = input.indexOf(isData ? END_OF_DATA : '\r\n')
      if (isData && end < 0) answer('body')
      if (end < 0) return
      const text = input.slice(0, end)
      input = input.slice(end + (isData ? END_OF_DATA.length : 2))
      if (isData) {
        isData = false
        double.bodies.push(text)
        answer('end')
        continue
      }
      double.commands.push(text)
      const point = pointOf(text)
      if (point === null) {
        socket.write(/^(rset|quit)/i.test(text) ? '250 2.0.0 Ok\r\n' : '502 5.5.1 Unknown\r\n')
        continue
      }
      answer(point)
      isData = point === 'data' && (double.script.data === undefined || String(double.script.data).startsWith('354'))
    }
  })
}

function pointOf(command: string): keyof Script | null {
  const verb = command.slice(0, 4).toLowerCase()
  const points: Record<string, keyof Script> = {
    ehlo: 'ehlo',
    helo: 'ehlo',
    star: 'starttls',
    auth: 'auth',
    mail: 'mail',
    rcpt: 'rcpt',
    data: 'data',
  }
  return points[verb] ?? null
}
