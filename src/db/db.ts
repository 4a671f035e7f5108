/** Anything that can run one statement: the pool, or a transaction. */
export type Queryable = {
  /** Runs one statement with parameters and returns its rows. bigint columns arrive as decimal strings. */
  query<Row>(sql: string, params?: readonly unknown[]): Promise<Row[]>
}

/** Sends one statement. Its rows are dropped; its failure rejects the pipeline. Parameters are no objects but buffers. */
export type Send = (sql: string, params?: readonly unknown[]) => void

/** The database. One engine, PostgreSQL 15 or newer; there is no second adapter. */
export type Db = Queryable & {
  /**
   * For statements that follow each other closely: one is sent over the connection of another before that is answered.
   * Each is a transaction of its own, and those on one connection run in the order in which they were given.
   */
  stream: Queryable
  /** Commits what `work` did, or rolls all of it back when it throws. */
  transaction<Result>(work: (tx: Queryable) => Promise<Result>): Promise<Result>
  /**
   * A transaction whose statements need no answers of each other: they and the commit are sent without waiting. `send` may
   * be called only until `work` is over. Rejects with the first failure, or with what `work` threw; nothing is stored then,
   * unless the connection broke while the commit was under way.
   */
  pipeline<Result>(work: (send: Send) => Result | Promise<Result>): Promise<Result>
  /** Calls back for each NOTIFY on `channel`, again after a reconnect; `onConnect` runs whenever listening (re)starts. */
  listen(
    channel: string,
    onNotify: (payload: string) => void,
    onConnect?: () => void,
  ): Promise<{ stop: () => Promise<void> }>
  close(): Promise<void>
}
