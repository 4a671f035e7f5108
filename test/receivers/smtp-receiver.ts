import { fork } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { eventually } from '../app.ts'

/**
 * What the receiver does with a mail: takes it; takes it and then says nothing, or breaks the connection, instead of
 * answering; says nothing before it takes it, or for a while; breaks the connection without having taken it.
 */
export type Mode = 'take' | 'dawdle' | 'take-and-hang' | 'take-and-drop' | 'stall' | 'refuse'

/** What its process is told. */
export type Behaviour = { mode: Mode; to?: string }

/** What its process tells. */
export type News = { url: string } | { told: true } | { waiting: number }

/** A line of its log: a mail that it took. */
export type ReceivedLine = { message_id: string; at: string; to: string }

export type SmtpReceiver = {
  url: string
  logFile: string
  /** What it has taken so far. */
  received: () => readonly ReceivedLine[]
  /** Waits until it has taken so many. */
  untilReceived: (count: number) => Promise<readonly ReceivedLine[]>
  /** Waits until it keeps so many senders waiting. */
  untilWaiting: (count: number) => Promise<unknown>
  /** Changes what it does, with mails to this address alone where one is given; mails that wait go on accordingly. */
  set: (mode: Mode, to?: string) => Promise<void>
  stop: () => Promise<void>
}

/** Processes may start, die and be noticed meanwhile, on a machine that has other things to do. */
const PATIENCE_MS = 60_000

/** Starts a mail server as a process of its own, which writes down every mail that it takes before it says so. */
export async function startSmtpReceiver(directory: string): Promise<SmtpReceiver> {
  const logFile = path.join(directory, 'received.jsonl')
  writeFileSync(logFile, '')
  const child = fork(path.join(import.meta.dirname, 'smtp-receiver-process.ts'), [logFile])
  const news = new EventEmitter()
  let waiting = 0
  child.on('message', (message: News) => {
    if ('waiting' in message) waiting = message.waiting
    else news.emit('url' in message ? 'url' : 'told', message)
  })
  const [{ url }] = (await once(news, 'url')) as [{ url: string }]
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
    untilReceived: (count) =>
      eventually(async () => (received().length >= count ? lines : null), `${count} mails`, PATIENCE_MS),
    untilWaiting: (count) =>
      eventually(async () => (waiting >= count ? true : null), `${count} mails that wait`, PATIENCE_MS),
    async set(mode, to) {
      const told = once(news, 'told')
      child.send({ mode, to })
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
