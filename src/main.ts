import { keepCompiled } from './compile-cache.ts'

keepCompiled()
const { run } = await import('./commands/program.ts')
await run()
