/**
 * The embedded database: one file in WAL mode, one connection that writes and one that reads committed data only. One process
 * per file, held by a lock beside it.
 */

import { chmodSync, closeSync, mkdirSync, openSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { getLogger, type Logger } from "@logtape/logtape"
import Database from "better-sqlite3"
import { drizzle } from "drizzle-orm/better-sqlite3"
import { AppError, messageOf } from "../errors"
import type { DbHandle, Query } from "./db"
import { refuseInsideTransaction, turnOf } from "./guard"
import { demandSmallPayload, manyRowsChanged, Subscribers } from "./signals"
import { Checkpointer } from "./sqlite-checkpointer"
import { LogFlusher } from "./sqlite-flusher"
import { SqliteScanner } from "./sqlite-scanner"
import { guardedStatements } from "./sqlite-statements"
import { SqliteWriter } from "./sqlite-writer"

export interface SqliteOptions {
  /** Absolute path of the database file. */
  readonly file: string
  /** Path of the better-sqlite3 addon, where it is not beside the package: in a compiled executable. */
  readonly nativeBinding?: string | undefined
  readonly deadlineMilliseconds?: number
  readonly logger?: Logger
  /** false where a power failure may take the newest transactions. */
  readonly isFlushed?: boolean | undefined
}

const busyMilliseconds = 1000
const scanMilliseconds = 10_000

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined)

/**
 * Holds an exclusive transaction on `lock.db` for as long as the returned connection is referenced: the operating system
 * releases it when the process dies in whatever way.
 */
const lockFolder = (folder: string, nativeBinding: string | undefined): Database.Database => {
  const lock = new Database(join(folder, "lock.db"), { timeout: 0, nativeBinding })
  try {
    lock.exec("begin exclusive")
    return lock
  } catch (error) {
    lock.close()
    if (codeOf(error) !== "SQLITE_BUSY") throw error
    throw new AppError("unavailable", `the database in ${folder} is in use by another certctl process`, {
      cause: error,
    })
  }
}

const openConnection = (file: string, nativeBinding: string | undefined): Database.Database => {
  const connection = new Database(file, { timeout: busyMilliseconds, nativeBinding })
  try {
    connection.pragma("journal_mode = wal")
    // What makes a commit survive a power failure is the flush for which its callers wait, beside this thread; FULL would do it here.
    connection.pragma("synchronous = normal")
    connection.pragma("foreign_keys = on")
    // KiB, used as needed. With the usual 2 MiB the upper pages of the indexes of a million rows are read again for every insert.
    connection.pragma("cache_size = -32768")
    // Every transaction of a batch is a savepoint, for which SQLite keeps the former pages: in memory, not in a file of its own.
    connection.pragma("temp_store = memory")
    // The checkpointer does it, beside this thread.
    connection.pragma("wal_autocheckpoint = 0")
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

/** The lock, and the two connections to the file, which is made when it is missing: readable by its owner only. */
const openFiles = (file: string, nativeBinding: string | undefined) => {
  const folder = dirname(file)
  const opened: Database.Database[] = []
  const keep = (connection: Database.Database): Database.Database => {
    opened.push(connection)
    return connection
  }
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const lock = keep(lockFolder(folder, nativeBinding))
    // The WAL beside it takes over the mode.
    closeSync(openSync(file, "a", 0o600))
    chmodSync(file, 0o600)
    const writing = keep(openConnection(file, nativeBinding))
    const reading = keep(openConnection(file, nativeBinding))
    reading.pragma("query_only = on")
    return { lock, writing, reading }
  } catch (error) {
    for (const connection of opened.reverse()) connection.close()
    if (error instanceof AppError) throw error
    throw new AppError("validation", `cannot use the database file ${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** Fails with `unavailable` when another process has the file, with `validation` when it cannot be used. */
export const openSqlite = async (options: SqliteOptions): Promise<DbHandle> => {
  const { file, nativeBinding, deadlineMilliseconds = 5000, isFlushed = true } = options
  const { logger = getLogger(["certctl", "db"]) } = options
  const { lock, writing, reading } = openFiles(file, nativeBinding)

  const subscribers = new Subscribers(logger)
  const flusher = new LogFlusher(file)
  const logPages = writing.prepare<[], { log: number; checkpointed: number }>("pragma wal_checkpoint(noop)")
  const checkpointer = new Checkpointer({
    file,
    nativeBinding,
    logger,
    unwritten: () => {
      const { log = 0, checkpointed = 0 } = logPages.get() ?? {}
      return log - checkpointed
    },
    writeBack: () => void writing.pragma("wal_checkpoint(passive)"),
  })
  const writer = new SqliteWriter(writing, {
    deadlineMilliseconds,
    flushed: isFlushed ? () => flusher.flushed() : async () => undefined,
    checkpointer,
    committed: (turn) => subscribers.committed(turn),
    changedMuch: () => subscribers.emit(manyRowsChanged, ""),
  })
  const readStatements = guardedStatements(reading, {
    before: () => refuseInsideTransaction("read"),
    failed: () => undefined,
  })
  const read = drizzle({ client: readStatements as unknown as Database.Database }) as unknown as Query
  const scanner = new SqliteScanner({ file, nativeBinding, deadlineMilliseconds: scanMilliseconds })
  let closing: Promise<void> | undefined

  return {
    dialect: "sqlite",
    read,
    scan: scanner.query,
    async transaction(run) {
      refuseInsideTransaction("a transaction")
      return await writer.transaction(run)
    },
    skipLocked: (query) => query,
    afterCommit: (tx, effect) => void turnOf(tx).effects.push(effect),
    gather: (tx, write, items) => turnOf(tx).gather(write, items),
    signal(tx, topic, payload = "") {
      demandSmallPayload(topic, payload)
      turnOf(tx).signals.push({ topic, payload })
    },
    onSignal: (topic, hear) => subscribers.add(topic, hear),
    vacuum: async () => undefined,
    async ping() {
      reading.prepare("select 1").get()
    },
    close() {
      closing ??= writer.close().then(async () => {
        await checkpointer.close()
        await flusher.close()
        scanner.close()
        reading.close()
        writing.close()
        lock.close()
      })
      return closing
    },
    async changeSchema(run, options) {
      refuseInsideTransaction("a schema change")
      return await writer.changeSchema(run, options)
    },
  }
}

/**
 * Copies a database that may be in use, by this process or another, without stopping its writers. The copy is the state at one
 * moment: an open read transaction pins it, otherwise every commit would make the copy start over.
 *
 * @throws AppError `conflict` when `destination` exists
 */
export const backupSqlite = async (options: {
  readonly file: string
  readonly destination: string
  readonly nativeBinding?: string | undefined
}): Promise<void> => {
  const { file, destination, nativeBinding } = options
  try {
    // Made here so that a copy of every sealed secret is never readable by others, not even while it grows.
    closeSync(openSync(destination, "wx", 0o600))
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error
    throw new AppError("conflict", `${destination} exists already: a backup overwrites nothing`, { cause: error })
  }
  const source = new Database(file, { fileMustExist: true, timeout: busyMilliseconds, nativeBinding })
  try {
    source.pragma("query_only = on")
    source.exec("begin")
    source.prepare("select count(*) from sqlite_schema").get()
    await source.backup(destination)
  } catch (error) {
    rmSync(destination, { force: true })
    throw new Error(`backing up ${file} failed: ${messageOf(error)}`, { cause: error })
  } finally {
    source.close()
  }
}
