import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// Loading TypeScript costs a second and some 50 MB each time, unless what was compiled is kept. In the installation
// itself: a folder that others may write to would let them run code here.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/eventcenter', import.meta.url)))

const { run } = await import('./commands/program.ts')
await run()
