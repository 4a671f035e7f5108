import { appendFileSync } from 'node:fs'
import { startSmtpServer } from '../smtp-server.ts'
import type { Mode, ReceivedLine } from './smtp-receiver.ts'

/**
 * A mail server of its own, which outlives whoever sends to it: `node smtp-receiver-process.ts LOG`. Writes a line for each
 * mail that it takes before it says so, tells its URL, and changes its behaviour as it is told over IPC.
 */
const logFile = process.argv[2] as string
let mode: Mode = 'take'
const changes = new Set<() => void>()

const server = await startSmtpServer({
  async take({ to, raw }) {
    server.mails.length = 0 // the log is what counts
    if (mode === 'stall') await changed()
    if (mode === 'refuse') throw new Error('refused')
    const line: ReceivedLine = { message_id: headerOf(raw, 'Message-ID'), at: new Date().toISOString(), to: to.join() }
    appendFileSync(logFile, `${JSON.stringify(line)}\n`)
    if (mode === 'take-and-drop') throw new Error('dropped')
    if (mode === 'take-and-hang') await changed()
  },
})

const changed = (): Promise<void> => new Promise((resolve) => void changes.add(resolve))

process.on('message', (next: Mode) => {
  mode = next
  for (const resolve of changes) resolve()
  changes.clear()
  process.send?.({ mode })
})
process.on('disconnect', () => process.exit(0))
process.send?.({ url: server.url })

function headerOf(raw: string, name: string): string {
  return new RegExp(`^${name}: *(.*)$`, 'im').exec(raw)?.[1]?.trim() ?? ''
}
