/** Fills the compile cache at installation, so that the first start is as fast and as small as the later ones. */
import { flushCompileCache } from 'node:module'
import { keepCompiled } from '../src/compile-cache.ts'

keepCompiled()
await import('../src/commands/program.ts')
await import('../src/commands/serve.ts')
await import('../src/app.ts')
flushCompileCache()
