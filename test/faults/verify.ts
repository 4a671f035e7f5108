import type { Report } from '../../src/commands/verify.ts'
import { run } from '../command-line.ts'
import { JWT_SECRET } from '../app.ts'

type Records = { receiverLog?: string; acceptedLog?: string; complete?: string }

/** Runs `eventcenter verify` as an operator does, and fails the test with what it found. */
export async function expectAllRulesToHold(
  databaseUrl: string,
  { receiverLog, acceptedLog, complete }: Records = {},
): Promise<Report> {
  const { stdout, stderr, exitCode } = await run(
    [
      'verify',
      '--json',
      ...(receiverLog === undefined ? [] : ['--receiver-log', receiverLog]),
      ...(complete === undefined ? [] : ['--complete', complete]),
      ...(acceptedLog === undefined ? [] : ['--accepted-log', acceptedLog]),
    ],
    { DATABASE_URL: databaseUrl, ...(databaseUrl.startsWith('embedded:') ? {} : { JWT_SECRET }) },
  )
  if (stdout === '') throw new Error(`verify ended with ${exitCode}:\n${stderr}`)
  const report = JSON.parse(stdout) as Report
  const broken = report.rules.flatMap(({ name, violations }) =>
    violations.map(({ id, detail }) => `${name}: ${id}: ${detail}`),
  )
  if (broken.length > 0 || exitCode !== 0) throw new Error(`rules are broken (${exitCode}):\n${broken.join('\n')}`)
  return report
}
