import { copyFile, open, readFile, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'

export type PostgresLog = {
  descriptor: number
  /** The last lines, for an error that says why PostgreSQL did not start. */
  tail(): Promise<string>
  close(): Promise<void>
}

const MAX_BYTES = 1_000_000
const CHECK_MS = 3_600_000
const TAIL_LINES = 5

/**
 * The file that PostgreSQL writes its messages to, itself, so that it can go on when this process is gone. When it is
 * full it becomes `postgres.log.1`, by copying, because a running server keeps its file open.
 */
export async function openPostgresLog(directory: string): Promise<PostgresLog> {
  const path = join(directory, 'postgres.log')
  const file = await open(path, 'a', 0o600)
  await bound(path)
  const timer = setInterval(() => void bound(path).catch(() => {}), CHECK_MS).unref() // a full disk; tried again
  return {
    descriptor: file.fd,
    tail: async () => (await readFile(path, 'utf8')).trimEnd().split('\n').slice(-TAIL_LINES).join('\n'),
    async close() {
      clearInterval(timer)
      await file.close()
    },
  }
}

async function bound(path: string): Promise<void> {
  if ((await stat(path)).size <= MAX_BYTES) return
  await copyFile(path, `${path}.1`)
  await truncate(path)
}
