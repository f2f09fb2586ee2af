/**
 * The only writer of a SQLite file. Transactions queue up and are committed in groups: one flush pays for many of them. Each runs
 * inside its own SAVEPOINT, so a failing one rolls back alone, and its caller hears of success only when the COMMIT is on the disk,
 * for which nobody else waits.
 */

import { AsyncLocalStorage } from "node:async_hooks"
import type { Database, Statement } from "better-sqlite3"
import { drizzle } from "drizzle-orm/better-sqlite3"
import { AppError } from "../errors"
import type { SchemaConnection, Tx } from "./db"
import { driverError } from "./errors"
import { deadlineError, demandTurn, inTurn, Turn } from "./guard"
import type { Checkpointer } from "./sqlite-checkpointer"
import { guardedStatements } from "./sqlite-statements"

// A batch ends at either bound: long enough to share the flush, short enough that the event loop gets its turn.
const maxBatchSize = 64
const usualBatchMilliseconds = 8
/** Where commits are slow, the next batch may take twice as long as the last one's did, up to here: most of the time is work then. */
const longestBatchMilliseconds = 25
/** Rows changed, also by triggers, after which `changedMuch` is called: about as many as a hundred certificates issued. */
const muchChanged = 4000

export interface SqliteWriterOptions {
  readonly deadlineMilliseconds: number
  /** How long a batch may take in more transactions. */
  readonly batchMilliseconds?: number
  /** Resolves when what was committed before the call is on the disk. */
  readonly flushed: () => Promise<void>
  readonly checkpointer: Pick<Checkpointer, "committed" | "pause">
  /** Called in the caller's async context when the COMMIT is on the disk. */
  readonly committed: (turn: Turn) => void
  /** Called after a batch, when some thousand rows have changed since the last time. */
  readonly changedMuch?: () => void
}

interface Job {
  readonly turn: Turn
  readonly run: (tx: Tx) => Promise<unknown>
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
  /** Without it a whole batch would log under the request id of its first caller. */
  readonly inCallerContext: <R>(run: () => R) => R
}

export class SqliteWriter {
  readonly #connection: Database
  readonly #options: SqliteWriterOptions
  readonly #statements
  readonly #tx: Tx
  readonly #run: Record<"begin" | "commit" | "rollback" | "savepoint" | "release" | "rollbackToSavepoint", () => void>
  readonly #totalChanges: Statement<[], number>
  readonly #detached = AsyncLocalStorage.snapshot()
  #jobs: Job[] = []
  #schemaChanges: (() => Promise<void>)[] = []
  #current: Turn | undefined
  #draining: Promise<void> | undefined
  #closed = false
  #lastCommitMilliseconds = 0
  #toldOfChanges = 0
  /** Of the newest batch. */
  #flushed: Promise<void> = Promise.resolve()

  constructor(connection: Database, options: SqliteWriterOptions) {
    this.#connection = connection
    this.#options = options
    this.#statements = guardedStatements(connection, {
      before: () => {
        demandTurn(this.#current)
        // A full disk rolls back the whole batch; what follows would run, and be kept, outside of any transaction.
        if (!connection.inTransaction) throw new Error("the database rolled the transaction back")
      },
      failed: (error) => {
        if (this.#current !== undefined) this.#current.failure ??= { error }
      },
    })
    this.#tx = drizzle({ client: this.#statements as unknown as Database }) as unknown as Tx
    const command = (text: string) => {
      const statement = connection.prepare(text)
      return () => void statement.run()
    }
    this.#totalChanges = connection.prepare<[], number>("select total_changes()").pluck()
    this.#run = {
      begin: command("begin immediate"),
      commit: command("commit"),
      rollback: command("rollback"),
      savepoint: command("savepoint job"),
      release: command("release job"),
      rollbackToSavepoint: command("rollback to job"),
    }
  }

  transaction<R>(run: (tx: Tx) => Promise<R>): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      this.#demandOpen()
      this.#jobs.push({
        turn: new Turn(this.#tx),
        run,
        resolve: resolve as (result: unknown) => void,
        reject,
        inCallerContext: AsyncLocalStorage.snapshot(),
      })
      this.#start()
    })
  }

  /** Runs between two batches, in a transaction of its own. */
  changeSchema<R>(
    run: (connection: SchemaConnection) => Promise<R>,
    { keepsReferences } = { keepsReferences: false },
  ): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      this.#demandOpen()
      this.#schemaChanges.push(() => this.#changeSchema(run, keepsReferences).then(resolve, reject))
      this.#start()
    })
  }

  /** Waits for everything that was queued. The connection stays open. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#draining
    await this.#flushed
  }

  #demandOpen(): void {
    if (this.#closed) throw new Error("the database is closed")
  }

  #start(): void {
    this.#draining ??= this.#detached(() => this.#drain())
  }

  async #drain(): Promise<void> {
    while (this.#jobs.length > 0 || this.#schemaChanges.length > 0) {
      await this.#options.checkpointer.pause()
      const change = this.#schemaChanges.shift()
      if (change === undefined) await this.#runBatch()
      else await change()
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#draining = undefined
  }

  async #runBatch(): Promise<void> {
    const started = performance.now()
    const { batchMilliseconds = usualBatchMilliseconds } = this.#options
    const most = Math.max(batchMilliseconds, Math.min(2 * this.#lastCommitMilliseconds, longestBatchMilliseconds))
    const taken: Job[] = []
    const succeeded: { job: Job; finish: () => void }[] = []
    try {
      this.#run.begin()
      while (taken.length < maxBatchSize && performance.now() - started < most) {
        const job = this.#jobs.shift()
        if (job === undefined) break
        taken.push(job)
        const result = await this.#runJob(job)
        if (result !== undefined) {
          const finish = () => {
            job.inCallerContext(() => this.#options.committed(job.turn))
            job.resolve(result.value)
          }
          succeeded.push({ job, finish })
        }
      }
      const worked = performance.now()
      this.#run.commit()
      this.#lastCommitMilliseconds = performance.now() - worked
    } catch (error) {
      if (this.#connection.inTransaction) this.#run.rollback()
      // BEGIN itself failed: the next caller gets the error, or the queue would spin.
      const failed = taken.length > 0 ? taken : this.#jobs.splice(0, 1)
      for (const job of failed) job.reject(error)
      return
    }
    this.#options.checkpointer.committed()
    this.#tellOfChanges()
    this.#flushed = this.#options.flushed().then(
      () => {
        for (const { finish } of succeeded) finish()
      },
      (error: unknown) => {
        for (const { job } of succeeded) job.reject(error)
      },
    )
  }

  #tellOfChanges(): void {
    const changes = this.#totalChanges.get() ?? 0
    if (changes - this.#toldOfChanges < muchChanged) return
    this.#toldOfChanges = changes
    this.#options.changedMuch?.()
  }

  /** The result in a box, or nothing when the job failed alone. Throws when the whole batch is lost. */
  async #runJob(job: Job): Promise<{ value: unknown } | undefined> {
    this.#run.savepoint()
    this.#current = job.turn
    try {
      const value = await this.#beforeDeadline(job.inCallerContext(() => inTurn(job.turn, job.run)))
      if (job.turn.failure !== undefined) throw job.turn.failure.error
      this.#endTurn(job)
      this.#run.release()
      return { value }
    } catch (caught) {
      this.#endTurn(job)
      // SQLITE_FULL and I/O errors roll back everything, and what ran before in this batch is gone as well. The statement's
      // error says why; the job may have caught it and thrown one of its own.
      if (!this.#connection.inTransaction) throw job.turn.failure?.error ?? caught
      this.#run.rollbackToSavepoint()
      this.#run.release()
      job.reject(driverError(caught))
      return undefined
    }
  }

  #endTurn(job: Job): void {
    job.turn.running = false
    this.#current = undefined
  }

  async #beforeDeadline<R>(work: Promise<R>): Promise<R> {
    const { deadlineMilliseconds } = this.#options
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(deadlineError(deadlineMilliseconds)), deadlineMilliseconds)
    try {
      return await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
    }
  }

  async #changeSchema<R>(run: (connection: SchemaConnection) => Promise<R>, keepsReferences: boolean): Promise<R> {
    const connection = this.#connection
    const state = () => `${connection.pragma("schema_version", { simple: true })} ${this.#totalChanges.get()}`
    // Does nothing inside a transaction, where rebuilding a table would empty its children by ON DELETE CASCADE.
    connection.pragma("foreign_keys = off")
    try {
      this.#run.begin()
      const before = state()
      const result = await run({
        run: async (text) => void connection.exec(text),
        all: async (text, parameters = []) => {
          const statement = connection.prepare<string[], Record<string, unknown>>(text)
          if (statement.reader) return statement.all(...parameters)
          statement.run(...parameters)
          return []
        },
      })
      // Looks at every row: seconds on a big database, which a start that migrates nothing must not take.
      const isChecked = keepsReferences || state() === before
      const violations = isChecked
        ? []
        : (connection.pragma("foreign_key_check") as { table: string; parent: string }[])
      const first = violations[0]
      if (first !== undefined) {
        throw new AppError(
          "invalid_state",
          `${violations.length} rows would refer to nothing, the first in ${first.table} to ${first.parent}`,
        )
      }
      this.#run.commit()
      this.#options.checkpointer.committed()
      await this.#options.flushed()
      return result
    } catch (error) {
      if (connection.inTransaction) this.#run.rollback()
      throw error
    } finally {
      this.#statements.clear()
      connection.pragma("foreign_keys = on")
    }
  }
}
