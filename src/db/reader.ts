/** Opens a database only to read it, beside whatever server works on it: no lock, no migration, nothing is ever written. */
import type { Database } from "better-sqlite3"
import { AppError, messageOf } from "../errors"
import type { Db, Query } from "./db"
import { sqliteKit } from "./kit"
import { type OpenDatabaseOptions, openDatabase, placeOf } from "./open"
import { allTables } from "./tables/tables"

export interface Reader extends Pick<Db, "t" | "read" | "dialect"> {
  close(): Promise<void>
}

const openFile = async (file: string, nativeBinding: string | undefined): Promise<Reader> => {
  const [{ default: Sqlite }, { drizzle }] = await Promise.all([
    import("better-sqlite3"),
    import("drizzle-orm/better-sqlite3"),
  ])
  let connection: Database
  try {
    connection = new Sqlite(file, { readonly: true, fileMustExist: true, nativeBinding })
  } catch (error) {
    throw new AppError("validation", `cannot read the database file ${file}: ${messageOf(error)}`, { cause: error })
  }
  return {
    dialect: "sqlite",
    t: allTables(sqliteKit),
    read: drizzle({ client: connection }) as unknown as Query,
    async close() {
      connection.close()
    },
  }
}

/** Fails like `openDatabase`, but a server that has the SQLite file open is not in the way. */
export const openReader = async (options: OpenDatabaseOptions): Promise<Reader> => {
  const place = placeOf(options.url, options.dataDir)
  return place.dialect === "sqlite" ? openFile(place.file, options.nativeBinding) : openDatabase(options)
}
