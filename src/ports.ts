import type { Logger } from 'pino'
import type { Bus } from './bus/bus.ts'
import type { Channel } from './channels/channel.ts'
import type { EventTypes } from './core/event-type.ts'
import type { Db } from './db/db.ts'
import type { Directory } from './directory/directory.ts'
import type { Metrics } from './metrics.ts'
import type { Queue } from './queue/queue.ts'
import type { Renderer } from './render/renderer.ts'

/** Everything with I/O that a step may use. Functions ask for the part they need: `Pick<Ports, 'db' | 'queue'>`. */
export type Ports = {
  db: Db
  queue: Queue
  bus: Bus
  directory: Directory
  channels: ReadonlyMap<string, Channel>
  eventTypes: EventTypes
  renderer: Renderer
  /** A new row id, see `core/id.ts`. */
  nextId: () => string
  metrics: Metrics
  log: Logger
}
