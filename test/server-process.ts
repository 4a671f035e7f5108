import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import path from 'node:path'
import { API_KEY, client, JWT_SECRET } from './app.ts'
import { freePort } from './free-port.ts'

const ROOT = path.join(import.meta.dirname, '..')

export type ServerProcess = ReturnType<typeof client> & {
  process: ChildProcess
  /** All it has written to both outputs. */
  output: () => string
  /** Ends it by a signal and waits; the exit code, or null when the signal ended it. */
  end: (signal: NodeJS.Signals) => Promise<number | null>
}

/** The server as users run it: a process of its own. Resolves once it answers. */
export async function startServerProcess(env: Record<string, string>): Promise<ServerProcess> {
  const port = env.PORT ?? (await freePort())
  const child = spawn(process.execPath, ['src/main.ts', 'serve'], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, API_KEYS: API_KEY, JWT_SECRET, ...env, PORT: port },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const url = `http://127.0.0.1:${port}`
  for (let i = 0; ; i++) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${output}`)
    if (i > 2400) throw new Error(`the server did not answer:\n${output}`)
    const answer = await fetch(`${url}/health`).catch(() => null)
    if (answer?.ok) break
    await sleep(25)
  }
  return {
    ...client(url),
    process: child,
    output: () => output,
    async end(signal) {
      if (child.exitCode !== null) return child.exitCode
      if (child.signalCode !== null) return null
      const exit = once(child, 'exit')
      child.kill(signal)
      const [code] = (await exit) as [number | null]
      return code
    },
  }
}
