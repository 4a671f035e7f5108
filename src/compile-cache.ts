import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

/**
 * Keeps what was compiled from TypeScript: without it each start costs a second and some 50 MB more. In the installation
 * itself, as a folder that others may write to would let them run code here.
 */
export const keepCompiled = (): void => {
  enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/eventcenter', import.meta.url)))
}
