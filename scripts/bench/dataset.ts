/**
 * A database of the size certctl is made for: a million certificates with three versions each, five million audit events, five
 * thousand agents. Rows are made by the database itself, from numbers that look random and are the same on every run.
 *
 *   bun scripts/bench/dataset.ts --dialect sqlite --folder /tmp/big [--scale 0.01]
 *
 * The folder keeps the dataset for other runs; a folder that has one is left as it is.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import Database from "better-sqlite3"
import postgres from "postgres"
import { migrate } from "../../src/db/migrate"
import { openDatabase } from "../../src/db/open"
import { type Dialect, rowsOf, type Sizes } from "./dataset.rows"
import { startKeptPostgres } from "./kept-postgres"

const migrations = join(import.meta.dir, "../../drizzle")

const sizesAt = (scale: number): Sizes => {
  const of = (full: number, least = 1) => Math.max(least, Math.round(full * scale))
  return {
    certificates: of(1_000_000, 1000),
    auditEvents: of(5_000_000, 1000),
    agents: of(5_000, 50),
    targets: of(6_000, 60),
    jobs: of(200_000, 100),
    notifications: of(100_000, 100),
    violations: of(100_000, 100),
    discovered: of(200_000, 100),
    scans: of(50_000, 100),
    observations: of(1_000_000, 100),
    healthChecks: of(20_000, 50),
  }
}

interface Loader {
  run(text: string): Promise<void>
  /** Those that only make reading faster are made afterwards: sorted once instead of kept sorted. */
  indexes(): Promise<{ name: string; create: string }[]>
  end(): Promise<void>
}

const indexesFrom = (rows: readonly Record<string, unknown>[]) =>
  rows.map((row) => ({ name: String(row.name), create: String(row.sql) }))

const sqliteLoader = (file: string): Loader => {
  const db = new Database(file)
  for (const pragma of [
    "journal_mode = off",
    "synchronous = off",
    "foreign_keys = off",
    "cache_size = -2000000",
    "temp_store = memory",
  ]) {
    db.pragma(pragma)
  }
  return {
    run: async (text) => void db.exec(text),
    indexes: async () =>
      indexesFrom(
        db
          .prepare("select name, sql from sqlite_schema where type = 'index' and sql not like 'create unique%'")
          .all() as Record<string, unknown>[],
      ),
    end: async () => {
      db.pragma("journal_mode = wal")
      db.close()
    },
  }
}

const postgresLoader = (url: string): Loader => {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  return {
    run: async (text) => void (await sql.unsafe(text)),
    indexes: async () =>
      indexesFrom(
        await sql.unsafe(`select indexname as name, indexdef as sql from pg_indexes where schemaname = 'public' and indexdef not like 'CREATE UNIQUE%'
          and not exists (select 1 from pg_constraint where conindid = indexname::regclass)`),
      ),
    end: async () => {
      await sql.unsafe("vacuum analyze")
      await sql.end()
    },
  }
}

const step = async (name: string, work: () => Promise<unknown>): Promise<void> => {
  const began = performance.now()
  await work()
  console.log(`${((performance.now() - began) / 1000).toFixed(1).padStart(8)} s  ${name}`)
}

const fill = async (dialect: Dialect, loader: Loader, scale: number): Promise<void> => {
  const indexes = await loader.indexes()
  for (const { name } of indexes) await loader.run(`drop index ${name}`)
  // Counting a million rows once is faster than a million times one row: the next migration does it.
  if (dialect === "postgres") await loader.run("set session_replication_role = replica")
  for (const { table, text } of rowsOf(dialect, sizesAt(scale))) await step(table, () => loader.run(text))
  await step("indexes", async () => {
    for (const { create } of indexes) await loader.run(create)
  })
  await loader.run("delete from settings where name like 'row_counts:%' or name like 'search:%'")
}

export interface Dataset {
  readonly url: string
  /** Where SQLite's file is, and the server's own files may be. */
  readonly dataDir: string
  stop(): Promise<void>
}

/** Opens the dataset of a folder, and makes it where there is none. */
export const openDataset = async (dialect: Dialect, folder: string, scale: number): Promise<Dataset> => {
  const home = join(folder, `${dialect}-${scale}`)
  const done = join(home, "complete")
  mkdirSync(home, { recursive: true })
  const file = join(home, "certctl.db")
  const server = dialect === "postgres" ? await startKeptPostgres(home) : null
  const url = server?.url ?? `sqlite:${file}`
  const dataset = { url, dataDir: home, stop: async () => await server?.stop() }
  if (existsSync(done)) return dataset
  if (server !== null) {
    const admin = postgres(server.url.replace(/certctl$/, "postgres"), { max: 1, onnotice: () => undefined })
    await admin.unsafe("drop database if exists certctl with (force)")
    await admin.unsafe("create database certctl")
    await admin.end()
  }
  const migrated = async () => {
    const db = await openDatabase({ url, dataDir: home, maxConnections: 1 })
    await migrate(db, { folder: migrations })
    await db.close()
  }
  await migrated()
  if (dialect === "sqlite") await withoutTriggers(file)
  const loader = server === null ? sqliteLoader(file) : postgresLoader(url)
  await fill(dialect, loader, scale)
  await loader.end()
  await step("counters", migrated)
  writeFileSync(done, new Date().toISOString())
  return dataset
}

const withoutTriggers = async (file: string): Promise<void> => {
  const db = new Database(file)
  const triggers = db
    .prepare(
      "select name from sqlite_schema where type = 'trigger' and (name like 'row_counts_%' or name like 'search_docs_%')",
    )
    .all()
  for (const { name } of triggers as { name: string }[]) db.exec(`drop trigger ${name}`)
  db.close()
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { dialect: { type: "string" }, folder: { type: "string" }, scale: { type: "string", default: "1" } },
  })
  const { dialect, folder, scale } = values
  if ((dialect !== "sqlite" && dialect !== "postgres") || folder === undefined) {
    console.error("usage: bun scripts/bench/dataset.ts --dialect sqlite|postgres --folder FOLDER [--scale 0.01]")
    process.exit(2)
  }
  const dataset = await openDataset(dialect, folder, Number(scale))
  console.log(dataset.url)
  await dataset.stop()
}
