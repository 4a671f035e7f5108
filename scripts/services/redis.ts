import { execFile } from 'node:child_process'
import { chown, mkdir } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { unprivilegedUser } from '../../src/db/unprivileged-user.ts'

/** `memory` forgets everything when it ends; `fsync` has every write on the disk before it answers. */
export type RedisKind = 'memory' | 'fsync'

export const redisUrl = (port: number): string => `redis://127.0.0.1:${port}`

const PERSISTENCE: Record<RedisKind, string[]> = {
  memory: ['--save', '', '--appendonly', 'no'],
  fsync: ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
}
const READY_TIMEOUT_MS = 15_000

type Instance = { directory: string; kind: RedisKind; port: number }

/** Starts one instance in the background, on loopback only, and waits until it answers. */
export async function startRedis(program: string, instance: Instance): Promise<void> {
  const home = homeOf(instance)
  const user = await unprivilegedUser(home)
  await mkdir(home, { recursive: true, mode: 0o700 })
  if (user) await chown(home, user.uid, user.gid)
  const place = ['--bind', '127.0.0.1', '--port', String(instance.port), '--dir', home]
  const process = [
    '--daemonize',
    'yes',
    '--pidfile',
    path.join(home, 'pid'),
    '--logfile',
    path.join(home, 'server.log'),
  ]
  await promisify(execFile)(program, [...place, ...process, ...PERSISTENCE[instance.kind]], { ...user, cwd: home })
  await until(() => isRedisRunning(instance), `${instance.kind} Redis to answer; its log is ${home}/server.log`)
}

/** Stops it and waits; does nothing when it is not running. */
export async function stopRedis(instance: Instance): Promise<void> {
  if (!(await isRedisRunning(instance))) return
  await ask(instance.port, 'SHUTDOWN NOSAVE')
  await until(async () => !(await isRedisRunning(instance)), `${instance.kind} Redis to stop`)
}

/** Whether the server on that port is the one of this directory, and not somebody else's. */
export async function isRedisRunning(instance: Instance): Promise<boolean> {
  const answer = await ask(instance.port, 'CONFIG GET dir')
  return answer.split('\r\n').includes(homeOf(instance))
}

const homeOf = ({ directory, kind }: Instance): string => path.join(directory, `redis-${kind}`)

/** The raw answer to one inline command; empty when nobody listens or the connection is closed. */
function ask(port: number, command: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`))
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk.toString()
    // The only answer that is read has four parts: two lengths and two values.
    if (answer.split('\r\n').length > 5) socket.end()
  })
  socket.setTimeout(1000, () => socket.destroy())
  socket.on('error', () => resolve(''))
  socket.on('close', () => resolve(answer))
  return promise
}

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (const giveUpAt = Date.now() + READY_TIMEOUT_MS; !(await isSo()); await sleep(20)) {
    if (Date.now() > giveUpAt) throw new Error(`Waited in vain for ${what}`)
  }
}
