/** Opens the database a URL names. Each dialect's driver is loaded only when it is the one in use. */

import { isAbsolute, join, resolve } from "node:path"
import type { Logger } from "@logtape/logtape"
import { AppError } from "../errors"
import type { Db, DbHandle } from "./db"
import { postgresKit, sqliteKit } from "./kit"
import { allTables } from "./tables/tables"

export interface OpenDatabaseOptions {
  /** `sqlite:/path/of/file`, `sqlite:file` (inside `dataDir`) or `postgres://user:password@host/database`. */
  readonly url: string
  /** Folder that relative SQLite paths start in. */
  readonly dataDir: string
  /** Upper bound of PostgreSQL connections, without the one that listens for signals. */
  readonly maxConnections: number
  /** Path of the better-sqlite3 addon of a compiled executable. */
  readonly nativeBinding?: string
  readonly logger?: Logger
  /** false for a SQLite database that need not outlive a power failure: nobody waits for the disk. */
  readonly isFlushed?: boolean
}

type Place = { readonly dialect: "sqlite"; readonly file: string } | { readonly dialect: "postgres" }

/** Never quotes the URL in an error: it carries the password. @throws AppError `validation` */
export const placeOf = (url: string, dataDir: string): Place => {
  if (/^postgres(ql)?:\/\//.test(url)) {
    if (!URL.canParse(url)) {
      throw new AppError("validation", "the database URL is no URL: percent-encode special characters of the password")
    }
    return { dialect: "postgres" }
  }
  const path = /^sqlite:(?:\/\/(?=\/))?([^?]+)$/.exec(url)?.[1]
  if (path === undefined) {
    throw new AppError("validation", "the database URL must be sqlite:/path or postgres://user:password@host/database")
  }
  return { dialect: "sqlite", file: isAbsolute(path) ? path : resolve(join(dataDir, path)) }
}

/**
 * Does not migrate: call `migrate` next. Fails with `validation` for a URL or connection count that cannot be meant, with
 * `unavailable` when the database does not answer or, on SQLite, when another process holds the file.
 */
export const openDatabase = async (options: OpenDatabaseOptions): Promise<Db> => {
  const { url, dataDir, maxConnections, nativeBinding, logger, isFlushed } = options
  const place = placeOf(url, dataDir)
  if (!Number.isInteger(maxConnections) || maxConnections < 1) {
    throw new AppError("validation", "the number of database connections must be at least 1")
  }
  const open = async (): Promise<DbHandle> => {
    if (place.dialect === "sqlite") {
      const { openSqlite } = await import("./sqlite")
      return await openSqlite({ file: place.file, nativeBinding, logger, isFlushed })
    }
    const { openPostgres } = await import("./postgres")
    return await openPostgres({ url, maxConnections, logger })
  }
  const handle = await open()
  try {
    await handle.ping()
  } catch (error) {
    await handle.close()
    throw error
  }
  return { ...handle, t: allTables(place.dialect === "sqlite" ? sqliteKit : postgresKit) }
}
