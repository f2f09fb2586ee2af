/** Runs the same tests on SQLite and on PostgreSQL, each test on a fresh database. */

import { afterEach, beforeAll, describe } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Db } from "../db/db"
import { migrate } from "../db/migrate"
import { openDatabase } from "../db/open"
import { createTestDatabase, migrationsFolder, prepareLimitMs, prepareTestPostgres } from "./postgres"

export type Dialect = Db["dialect"]

/** Opens a migrated database of its own. It is closed and removed after the test. */
export type OpenTestDb = () => Promise<Db>

/** Removes what the tests of a file made, in reverse order. */
const cleanups: (() => Promise<void> | void)[] = []

/** Where a database was opened. */
const places = new WeakMap<Db, Parameters<typeof openDatabase>[0]>()

const openAt = async (place: Parameters<typeof openDatabase>[0]): Promise<Db> => {
  const db = await openDatabase(place)
  places.set(db, place)
  cleanups.push(() => db.close())
  return db
}

let sqliteTemplate: Promise<Buffer> | undefined

/** A migrated file. Migrating takes some ten milliseconds, writing the result none. */
const makeSqliteTemplate = async (): Promise<Buffer> => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-test-template-"))
  try {
    const db = await openDatabase({ url: "sqlite:template.db", dataDir: folder, maxConnections: 1 })
    try {
      await migrate(db, { folder: migrationsFolder })
    } finally {
      // Closing the last connection moves everything from the log into the file.
      await db.close()
    }
    return readFileSync(join(folder, "template.db"))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const openSqliteDb: OpenTestDb = async () => {
  sqliteTemplate ??= makeSqliteTemplate()
  const folder = mkdtempSync(join(tmpdir(), "certctl-test-"))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, "certctl.db"), await sqliteTemplate)
  // As PostgreSQL for tests runs without fsync.
  return await openAt({ url: "sqlite:certctl.db", dataDir: folder, maxConnections: 1, isFlushed: false })
}

const openPostgresDb: OpenTestDb = async () => {
  const database = await createTestDatabase()
  cleanups.push(() => database.drop())
  return await openAt({ url: database.url, dataDir: tmpdir(), maxConnections: 8 })
}

/** What a second server on the same database would use; on SQLite, which one process has to itself, the same handle. */
export const openBeside = async (db: Db): Promise<Db> => {
  const place = places.get(db)
  return place === undefined || db.dialect === "sqlite" ? db : await openAt(place)
}

/** Closes a database as a server does that ends, and opens it again. */
export const reopen = async (db: Db): Promise<Db> => {
  const place = places.get(db)
  if (place === undefined) throw new Error("the database was not opened here")
  await db.close()
  return await openAt(place)
}

/** For tests that open many, one after another. */
export const removeTestDatabases = async (): Promise<void> => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup()
}

/**
 * @example
 * onEachDialect("certificate store", (openDb) => {
 *   test("finds what expires soon", async () => {
 *     const db = await openDb()
 */
export const onEachDialect = (name: string, tests: (openDb: OpenTestDb, dialect: Dialect) => void): void => {
  const openers: Record<Dialect, OpenTestDb> = { sqlite: openSqliteDb, postgres: openPostgresDb }
  for (const dialect of ["sqlite", "postgres"] as const) {
    describe(`${name} (${dialect})`, () => {
      if (dialect === "postgres") beforeAll(prepareTestPostgres, prepareLimitMs)
      afterEach(removeTestDatabases)
      tests(openers[dialect], dialect)
    })
  }
}
