import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export type Ended = { exitCode: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }

export type Running = {
  child: ChildProcessWithoutNullStreams
  /** What it has written so far. */
  output: { stdout: string; stderr: string }
  /** Waits until it has written a text that fits, and gives the match. */
  written: (stream: 'stdout' | 'stderr', pattern: RegExp) => Promise<RegExpExecArray>
  ended: Promise<Ended>
}

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))

/** Starts `eventcenter` as a process of its own, with no environment but this. */
export function start(args: readonly string[], environment: Record<string, string> = {}, program = [MAIN]): Running {
  const [command = '', ...before] = program[0] === MAIN ? [process.execPath, ...program] : program
  const child = spawn(command, [...before, ...args], { env: { PATH: process.env['PATH'] ?? '', ...environment } })
  const output = { stdout: '', stderr: '' }
  const listeners = new Set<() => void>()
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text
      for (const listener of listeners) listener()
    })
  }
  const ended = once(child, 'close').then(([exitCode, signal]) => {
    for (const listener of listeners) listener()
    return { exitCode: exitCode as number | null, signal: signal as NodeJS.Signals | null, ...output }
  })

  const written: Running['written'] = (stream, pattern) =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(output[stream])
        const hasEnded = child.exitCode !== null || child.signalCode !== null
        if (!match && !hasEnded) return
        listeners.delete(look)
        if (match) return resolve(match)
        reject(new Error(`It ended without writing ${pattern}:\n${output.stdout}\n${output.stderr}`))
      }
      listeners.add(look)
      look()
    })
  return { child, output, written, ended }
}

/** Runs `eventcenter` to its end. */
export const run = (
  args: readonly string[],
  environment?: Record<string, string>,
  program?: string[],
): Promise<Ended> => start(args, environment, program).ended

/** A directory that is gone after the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'eventcenter-command-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}
