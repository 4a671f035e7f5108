import { watchEventLoop } from '../measures/probe.ts'

/** Tells the parent process where the server listens, and obeys it. */
export function serveParent(url: string, close: () => Promise<unknown>): void {
  let loop = watchEventLoop()
  process.on('message', (command) => {
    if (command === 'watch') loop = watchEventLoop()
    if (command === 'loop') process.send?.(loop.stop())
    if (command === 'end') void close().finally(() => process.exit(0))
  })
  process.on('disconnect', () => process.exit(1)) // nobody is left to stop it
  process.send?.({ url })
}
