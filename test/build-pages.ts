import { execFile } from 'node:child_process'
import { glob, stat } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

const ROOT = path.join(import.meta.dirname, '..')

/** Before all tests: the pages that they open are those of the sources, built once. */
export async function setup(): Promise<void> {
  for (const project of ['sdk', 'admin']) {
    const [written, built] = await Promise.all([
      newest(['sdk/src/*.ts', `${project}/src/*.ts`, `${project}/tsconfig.build.json`]),
      newest([`${project}/dist/**/*.js`]),
    ])
    if (written <= built) continue
    const tsc = path.join(ROOT, 'node_modules/.bin/tsc')
    await promisify(execFile)(tsc, ['-p', path.join(ROOT, project, 'tsconfig.build.json')])
  }
}

/** When the last of these files was changed, in ms; 0 where there is none. */
async function newest(patterns: string[]): Promise<number> {
  let last = 0
  for await (const file of glob(patterns, { cwd: ROOT }))
    last = Math.max(last, (await stat(path.join(ROOT, file))).mtimeMs)
  return last
}
