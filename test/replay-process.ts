import { pino } from 'pino'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../src/db/pool.ts'
import { continueReplays } from '../src/pipeline/replay.ts'
import type { Queue } from '../src/queue/queue.ts'

/** A process that goes on with the replays of a database until it is killed. Its one argument is the database's URL. */
const db = connect(process.argv[2] ?? '', { maxConnections: 1 })
const queue = { wake: () => {} } as Queue
for (;;) {
  await continueReplays({ db, queue, log: pino({ level: 'silent' }) })
  await sleep(10)
}
