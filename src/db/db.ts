/** Anything that can run one statement: the pool, or a transaction. */
export type Queryable = {
  /** Runs one statement with parameters and returns its rows. bigint columns arrive as decimal strings. */
  query<Row>(sql: string, params?: readonly unknown[]): Promise<Row[]>
}

/** The database. One engine, PostgreSQL 15 or newer; there is no second adapter. */
export type Db = Queryable & {
  /**
   * For statements that follow each other closely: one is sent over the connection of another before that is answered.
   * Each is a transaction of its own, and those on one connection run in the order in which they were given.
   */
  stream: Queryable
  /** Commits what `work` did, or rolls all of it back when it throws. */
  transaction<Result>(work: (tx: Queryable) => Promise<Result>): Promise<Result>
  /** Calls back for each NOTIFY on `channel`, again after a reconnect; `onConnect` runs whenever listening (re)starts. */
  listen(
    channel: string,
    onNotify: (payload: string) => void,
    onConnect?: () => void,
  ): Promise<{ stop: () => Promise<void> }>
  close(): Promise<void>
}
