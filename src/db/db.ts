/**
 * The one handle stores see, the same for both dialects. Queries are written once against the SQLite types of drizzle; the
 * PostgreSQL builder is cast to them, because it answers the same calls.
 */

import type { BaseSQLiteDatabase } from "drizzle-orm/sqlite-core"
import type { Tables } from "./tables/tables"

type Builder = BaseSQLiteDatabase<"async", unknown>

/**
 * Builds reads. Await the query itself: `.get()`, `.all()` and `.run()` are missing from one of the dialects, and so is
 * everything of drizzle that is not picked here.
 */
export type Query = Pick<Builder, "select" | "selectDistinct" | "with" | "$with" | "$count">

declare const transactional: unique symbol

/** Reads and writes inside one transaction. The brand keeps `db.read` from being passed where a transaction is meant. */
export type Tx = Query & Pick<Builder, "insert" | "update" | "delete"> & { readonly [transactional]: true }

/**
 * Writes what a transaction gathered, at its end. Where it calls `beforeLast`, COMMIT may go out with the one statement that it sends
 * afterwards: whatever could be wrong with that has to make the statement fail.
 */
export type Gatherer<T> = (tx: Tx, items: readonly T[], beforeLast?: () => void) => Promise<void>

/** What the migration runner needs and stores must not have: statements as text, on the connection that holds the lock. */
export interface SchemaConnection {
  /** Runs text that takes no parameters, several statements if need be. */
  run(text: string): Promise<void>
  /** Runs one statement, its parameters marked `?` on both dialects. */
  all(text: string, parameters?: readonly string[]): Promise<Record<string, unknown>[]>
}

/** Everything about an open database that does not depend on which tables are in it. */
export interface DbHandle {
  readonly dialect: "sqlite" | "postgres"
  /** Each query stands alone and sees committed data only. Refused inside a transaction. */
  readonly read: Query
  /**
   * As `read`, for queries that may look at many rows: free text, counts that nothing keeps, exports. On SQLite they run in a
   * thread beside the one that answers requests, so that nobody else waits; that costs some tenths of a millisecond. Fails with
   * `unavailable` when too many wait or one takes longer than ten seconds.
   */
  readonly scan: Query
  /**
   * Commits when `run` resolves and rolls back when it rejects, when any statement in it failed (even if that was caught:
   * PostgreSQL would silently roll back at COMMIT) or after the deadline of five seconds. Await nothing but `tx` inside:
   * on SQLite every other writer waits. Fails with `unavailable` when the database is gone or the deadline has passed.
   */
  transaction<R>(run: (tx: Tx) => Promise<R>): Promise<R>
  /** Locks the rows a query reads and leaves out those another transaction holds. SQLite has one writer and needs no lock. */
  skipLocked<Q>(query: Q): Q
  /** Runs `effect` after the COMMIT of the transaction `tx` belongs to, and never when it rolls back. */
  afterCommit(tx: Tx, effect: () => void): void
  /**
   * Hands what one transaction has to write in many places to `write` together, as the last thing before its COMMIT: one statement
   * instead of several. Until then the transaction itself does not see it.
   */
  gather<T>(tx: Tx, write: Gatherer<T>, items: readonly T[]): void
  /**
   * After the COMMIT every subscriber of every process on this database hears `topic`. An accelerator: it may be lost, so
   * whoever listens also polls. `payload` is at most about 7,500 bytes: send ids, not rows.
   */
  signal(tx: Tx, topic: string, payload?: string): void
  /** Returns the function that unsubscribes. */
  onSignal(topic: string, hear: (payload: string) => void): () => void
  /**
   * Makes room where rows came and went: PostgreSQL keeps what was deleted until somebody looks after it, by itself once a minute at
   * best, and every reader goes through it. Nothing on SQLite.
   */
  vacuum(table: string): Promise<void>
  /** Resolves when the database answers a query. */
  ping(): Promise<void>
  /** Waits for the transactions under way. */
  close(): Promise<void>
  /**
   * For migrations: one transaction that no other process can run beside, without deadline, foreign keys checked at its end when
   * something changed, unless the caller promises that no row that refers to another did.
   */
  changeSchema<R>(
    run: (connection: SchemaConnection) => Promise<R>,
    options?: { readonly keepsReferences: boolean },
  ): Promise<R>
}

export interface Db extends DbHandle {
  readonly t: Tables
}
