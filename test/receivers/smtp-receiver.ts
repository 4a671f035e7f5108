import { fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { eventually } from '../app.ts'

/**
 * What the receiver does with a mail: takes it; takes it and then says nothing, or breaks the connection, instead of
 * answering; says nothing before it takes it; breaks the connection without having taken it.
 */
export type Mode = 'take' | 'take-and-hang' | 'take-and-drop' | 'stall' | 'refuse'

/** A line of its log: a mail that it took. */
export type ReceivedLine = { message_id: string; at: string; to: string }

export type SmtpReceiver = {
  url: string
  logFile: string
  /** What it has taken so far. */
  received: () => readonly ReceivedLine[]
  /** Waits until what it took fits. */
  until: (fits: (received: readonly ReceivedLine[]) => boolean, what: string) => Promise<readonly ReceivedLine[]>
  /** Changes what it does; mails that hang go on as the new mode says. */
  set: (mode: Mode) => Promise<void>
  stop: () => Promise<void>
}

/** Starts a mail server as a process of its own, which writes down every mail that it takes before it says so. */
export async function startSmtpReceiver(directory: string): Promise<SmtpReceiver> {
  const logFile = path.join(directory, 'received.jsonl')
  writeFileSync(logFile, '')
  const child = fork(path.join(import.meta.dirname, 'smtp-receiver-process.ts'), [logFile])
  const [{ url }] = (await once(child, 'message')) as [{ url: string }]
  const descriptor = openSync(logFile, 'r')
  const lines: ReceivedLine[] = []
  let rest = ''

  function received(): readonly ReceivedLine[] {
    const chunk = Buffer.alloc(1024 * 1024)
    for (let length = readSync(descriptor, chunk); length > 0; length = readSync(descriptor, chunk)) {
      const parts = (rest + chunk.toString('utf8', 0, length)).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts.map((line) => JSON.parse(line) as ReceivedLine))
    }
    return lines
  }

  return {
    url,
    logFile,
    received,
    until: (fits, what) => eventually(async () => (fits(received()) ? lines : null), what),
    async set(mode) {
      const told = once(child, 'message')
      child.send(mode)
      await told
    },
    async stop() {
      closeSync(descriptor)
      const exit = once(child, 'exit')
      child.disconnect()
      await exit
    },
  }
}
