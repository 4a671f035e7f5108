import { Worker } from 'node:worker_threads'

let script: Promise<Buffer> | undefined

/**
 * The program of the `/docs` page, gzipped. Its package holds megabytes as a string, so a thread of its own reads it at
 * the first visit and ends; only the compressed bytes stay.
 */
export function docsScript(): Promise<Buffer> {
  script ??= readInThread()
  script.catch(() => {
    script = undefined
  })
  return script
}

function readInThread(): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./docs-script-thread.ts', import.meta.url))
    worker.once('message', (bytes: Uint8Array) => resolve(Buffer.from(bytes)))
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('The thread that reads the page of the API ended without an answer')))
  })
}
