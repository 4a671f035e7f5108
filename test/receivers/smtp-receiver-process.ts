import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startSmtpServer } from '../smtp-server.ts'
import type { Behaviour, Mode, News, ReceivedLine } from './smtp-receiver.ts'

const DAWDLE_MS = 500

/**
 * A mail server of its own, which outlives whoever sends to it: `node smtp-receiver-process.ts LOG`. Writes a line for each
 * mail that it takes before it says so, tells its URL and how many mails it keeps waiting, and changes its behaviour as it
 * is told over IPC.
 */
const logFile = process.argv[2] as string
const behaviours = new Map<string, Mode>()
const changes = new Set<() => void>()
let waiting = 0

const tell = (news: News): void => void process.send?.(news)

const server = await startSmtpServer({
  async take({ to, raw }) {
    server.mails.length = 0 // the log is what counts
    const mode = (): Mode => behaviours.get(to.join()) ?? behaviours.get('') ?? 'take'
    await whileMode('stall')
    if (mode() === 'dawdle') await sleep(DAWDLE_MS)
    if (mode() === 'refuse') throw new Error('refused')
    const line: ReceivedLine = { message_id: headerOf(raw, 'Message-ID'), at: new Date().toISOString(), to: to.join() }
    appendFileSync(logFile, `${JSON.stringify(line)}\n`)
    if (mode() === 'take-and-drop') throw new Error('dropped')
    await whileMode('take-and-hang')

    async function whileMode(patient: Mode): Promise<void> {
      if (mode() !== patient) return
      tell({ waiting: ++waiting })
      while (mode() === patient) await new Promise<void>((resolve) => void changes.add(resolve))
      tell({ waiting: --waiting })
    }
  },
})

process.on('message', ({ mode, to }: Behaviour) => {
  if (to === undefined) behaviours.clear()
  behaviours.set(to ?? '', mode)
  for (const resolve of changes) resolve()
  changes.clear()
  tell({ told: true })
})
process.on('disconnect', () => process.exit(0))
tell({ url: server.url })

function headerOf(raw: string, name: string): string {
  return new RegExp(`^${name}: *(.*)$`, 'im').exec(raw)?.[1]?.trim() ?? ''
}
