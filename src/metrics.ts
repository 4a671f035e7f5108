import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from '@prometheus-io/client'

export type Metrics = ReturnType<typeof metrics>

/** All metrics of the process, in their own registry, so that tests can run several servers side by side. */
export function metrics() {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })

  return {
    registry,
    accepted: new Counter({ name: 'eventcenter_events_accepted_total', help: 'Events stored.', registers }),
    deduplicated: new Counter({
      name: 'eventcenter_events_deduplicated_total',
      help: 'Events answered with an earlier one that has their dedupe key.',
      registers,
    }),
    deliveries: new Counter({
      name: 'eventcenter_deliveries_total',
      help: 'Finished attempts by channel and outcome.',
      labelNames: ['channel', 'outcome'],
      registers,
    }),
    sendSeconds: new Histogram({
      name: 'eventcenter_send_seconds',
      help: 'Time of one send, by channel.',
      labelNames: ['channel'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30],
      registers,
    }),
    httpSeconds: new Histogram({
      name: 'eventcenter_http_request_seconds',
      help: 'Time to answer one request, by method, route and status.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.01, 0.05, 0.2, 1, 5, 30],
      registers,
    }),
    connections: new Gauge({ name: 'eventcenter_ws_connections', help: 'Open WebSocket sessions.', registers }),
    activeUsers: new Gauge({ name: 'eventcenter_ws_users', help: 'Users with an open session.', registers }),
    framesPublished: new Counter({
      name: 'eventcenter_frames_published_total',
      help: 'Frames given to the bus.',
      registers,
    }),
    framesSent: new Counter({ name: 'eventcenter_frames_sent_total', help: 'Frames written to sockets.', registers }),
    accountTokens: new Counter({
      name: 'eventcenter_account_tokens_total',
      help: 'Messages that accounts with a limit were allowed, by account and lane.',
      labelNames: ['account', 'lane'],
      registers,
    }),
    accountStops: new Counter({
      name: 'eventcenter_account_stops_total',
      help: 'Times that a provider told us to wait, by account.',
      labelNames: ['account'],
      registers,
    }),
    queue: {
      oldestTransactionSeconds: new Gauge({
        name: 'eventcenter_oldest_transaction_seconds',
        help: 'Age of the oldest open transaction of the database.',
        registers,
      }),
      oldestDueSeconds: new Gauge({
        name: 'eventcenter_oldest_due_seconds',
        help: 'How long the oldest due delivery has been waiting, by channel and lane.',
        labelNames: ['channel', 'lane'],
        registers,
      }),
      deliveries: new Gauge({
        name: 'eventcenter_queued_deliveries',
        help: 'Deliveries in the queue: ready (due or for later), leased (held by a worker) and waiting (for those before it in its thread).',
        labelNames: ['state'],
        registers,
      }),
      deadLetters: new Gauge({
        name: 'eventcenter_dead_letters',
        help: 'Deliveries that wait for a person, by kind.',
        labelNames: ['kind'],
        registers,
      }),
      deadTuples: new Gauge({
        name: 'eventcenter_dead_tuples',
        help: 'Rows that are gone and that vacuum has not removed yet, by table.',
        labelNames: ['table'],
        registers,
      }),
      accountStoppedSeconds: new Gauge({
        name: 'eventcenter_account_stopped_seconds',
        help: 'For how long the provider of an account still takes nothing, by account.',
        labelNames: ['account'],
        registers,
      }),
      partitionsMissing: new Gauge({
        name: 'eventcenter_partitions_missing',
        help: 'Weekly partitions that should be there by now.',
        registers,
      }),
      partitionsKept: new Gauge({
        name: 'eventcenter_partitions_kept',
        help: 'Partitions older than their retention that are still in use.',
        registers,
      }),
      strayRows: new Gauge({
        name: 'eventcenter_stray_rows',
        help: 'Rows of weeks without a partition: some clock is wrong.',
        registers,
      }),
    },
  }
}
