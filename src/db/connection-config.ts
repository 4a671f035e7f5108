import type pg from 'pg'
import { columnTypes } from './column-types.ts'

export type ConnectionOptions = {
  /** How long PostgreSQL may work on one statement. 0 means for ever. */
  statementTimeoutMs?: number
  lockTimeoutMs?: number
  /** What `pg_stat_activity` shows. */
  applicationName?: string
}

/** How long a new connection may take, and how long a caller may wait for a free one. */
export const CONNECT_TIMEOUT_MS = 3000

/** The settings that every connection of ours has, over a URL or a configuration of `pg`. */
export function connectionConfig(target: string | pg.ClientConfig, options: ConnectionOptions = {}): pg.ClientConfig {
  const given = typeof target === 'string' ? parseUrl(target) : target
  const { statementTimeoutMs = 10_000, lockTimeoutMs = 5000, applicationName = 'eventcenter' } = options
  const settings = {
    timezone: 'UTC',
    datestyle: 'ISO',
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    idle_in_transaction_session_timeout: 60_000, // a forgotten transaction would stop vacuum
    jit: 'off', // compiling costs more than any statement of ours
    // A plan made while a table was empty is kept when it has filled, and reading all of it for every claim is the end.
    enable_seqscan: 'off',
  }
  return {
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    fallback_application_name: applicationName,
    ...given,
    types: columnTypes,
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .concat(given.options ?? [])
      .join(' '),
  }
}

/** Takes `options` out of the URL, where `pg` would let them replace ours. */
function parseUrl(url: string): pg.ClientConfig {
  const [, before = '', options, after = ''] = /^(.*?[?&])options=([^&]*)&?(.*)$/s.exec(url) ?? []
  if (options === undefined) return { connectionString: url }
  return { connectionString: before + after, options: decodeURIComponent(options.replaceAll('+', ' ')) }
}
