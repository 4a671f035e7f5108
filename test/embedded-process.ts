import { startEmbedded } from '../src/db/embedded.ts'
import { connect } from '../src/db/pool.ts'

/**
 * A server process for tests to kill: `node embedded-process.ts DIRECTORY`. Writes one line when it is ready, and then
 * the number of each row of the table `acknowledged` whose insert was acknowledged.
 */
const embedded = await startEmbedded(process.argv[2] as string)
const db = connect(embedded.url)
await db.query('create table if not exists acknowledged (n bigint generated always as identity)')
process.stdout.write(`${JSON.stringify({ adopted: embedded.adopted, pid: embedded.pid() })}\n`)
while (true) {
  const [row] = await db.query<{ n: string }>('insert into acknowledged default values returning n')
  process.stdout.write(`${row?.n}\n`)
}
