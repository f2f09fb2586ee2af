/**
 * Brings a database to the schema this version was written for, or back. Runs on every start, one transaction per migration,
 * under a lock. The way back is stored when a migration is applied, so an older version can undo what it does not know.
 */

import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { AppError, messageOf } from "../errors"
import type { DbHandle, SchemaConnection } from "./db"
import { ensureRowCounts, stopCounting } from "./row-count-triggers"
import { ensureSearchIndex, stopIndexing } from "./search-triggers"

interface Migration {
  /** `0000_init` */
  readonly name: string
  readonly up: string
  readonly down: string
  readonly checksum: string
}

interface Applied {
  readonly name: string
  readonly checksum: string
  readonly down: string
}

type Step =
  | { readonly direction: "up"; readonly migration: Migration }
  | { readonly direction: "down"; readonly name: string; readonly down: string }

export interface MigrateOptions {
  /** Holds `sqlite/` and `postgres/`, each with `NNNN_name.sql`, `NNNN_name.down.sql` and `triggers.sql`. */
  readonly folder: string
  /** The migration to end at, by name or number; `none` undoes all. Without it: everything in the folder. */
  readonly to?: string
}

export interface Migrated {
  readonly applied: readonly string[]
  readonly reverted: readonly string[]
}

const migrationName = /^(\d{4}_[a-z0-9_]+)\.sql$/

const readMigrations = (folder: string): Migration[] =>
  readdirSync(folder)
    .flatMap((file) => migrationName.exec(file)?.[1] ?? [])
    .sort()
    .map((name) => {
      const up = readFileSync(join(folder, `${name}.sql`), "utf8")
      return {
        name,
        up,
        down: readFileSync(join(folder, `${name}.down.sql`), "utf8"),
        checksum: createHash("sha256").update(up).digest("hex"),
      }
    })

/**
 * Statements that drizzle-kit separated. Its PRAGMA lines go: they do nothing inside a transaction, and the connection has the
 * foreign keys off by then.
 */
const statementsOf = (text: string): string[] =>
  text
    .split("--> statement-breakpoint")
    .map((statement) => statement.replaceAll(/^\s*PRAGMA\s+foreign_keys\s*=.*$/gim, "").trim())
    .filter((statement) => statement !== "")

const runAll = async (connection: SchemaConnection, text: string): Promise<void> => {
  for (const statement of statementsOf(text)) await connection.run(statement)
}

const readApplied = async (connection: SchemaConnection): Promise<Applied[]> => {
  await connection.run(`create table if not exists schema_migrations (
    name text primary key,
    checksum text not null,
    down_sql text not null,
    applied_at text not null default current_timestamp
  )`)
  const rows = await connection.all("select name, checksum, down_sql from schema_migrations order by name")
  return rows.map((row) => ({ name: String(row.name), checksum: String(row.checksum), down: String(row.down_sql) }))
}

/** How many migrations are to be applied at the end. `names` are those known here or applied, in order. */
const goalOf = (names: readonly string[], to: string | undefined): number => {
  if (to === undefined) return names.length
  if (to === "none") return 0
  const index = names.findIndex((name) => name === to || name.startsWith(`${to}_`))
  if (index < 0) throw new AppError("not_found", `there is no migration ${to}; known are ${names.join(", ")} and none`)
  return index + 1
}

const nextStep = (
  migrations: readonly Migration[],
  applied: readonly Applied[],
  to: string | undefined,
): Step | null => {
  const known = new Map(migrations.map((migration) => [migration.name, migration]))
  for (const { name, checksum } of applied) {
    const migration = known.get(name)
    if (migration !== undefined && migration.checksum !== checksum) {
      throw new AppError(
        "invalid_state",
        `migration ${name} was applied in another form: the database is of another build`,
      )
    }
  }
  const names = [...new Set([...known.keys(), ...applied.map(({ name }) => name)])].sort()
  const goal = goalOf(names, to)
  const newest = applied.at(-1)
  if (newest !== undefined && names.indexOf(newest.name) >= goal) {
    return { direction: "down", name: newest.name, down: newest.down }
  }
  const done = new Set(applied.map(({ name }) => name))
  const missing = names.slice(0, goal).find((name) => !done.has(name))
  if (missing === undefined) {
    const unknown = applied.find(({ name }) => !known.has(name))
    if (to === undefined && unknown !== undefined) {
      const last = migrations.at(-1)?.name ?? "none"
      throw new AppError(
        "invalid_state",
        `the database was migrated by a newer version (${unknown.name}): start that version, or go back with \`certctl migrate --to ${last}\``,
      )
    }
    return null
  }
  const migration = known.get(missing)
  // `missing` is not applied, so it comes from the folder.
  if (migration === undefined) throw new Error(`migration ${missing} has no file`)
  return { direction: "up", migration }
}

/**
 * Applies or reverts until the database is at `to`. Any number of processes may call it at once.
 *
 * @throws AppError `invalid_state` when a newer version migrated the database, or an applied migration differs from its file;
 * `not_found` for an unknown `to`; what the database reported, with the name of the migration, when a statement fails. A failed
 * migration leaves everything as it was before it.
 */
export const migrate = async (db: DbHandle, { folder, to }: MigrateOptions): Promise<Migrated> => {
  const dialectFolder = join(folder, db.dialect)
  const migrations = readMigrations(dialectFolder)
  const triggers = readFileSync(join(dialectFolder, "triggers.sql"), "utf8")
  const applied: string[] = []
  const reverted: string[] = []

  const round = { dialect: db.dialect, migrations, triggers, to, applied, reverted }
  let moved = true
  while (moved) moved = await db.changeSchema((connection) => oneStep(connection, round))
  // What is counted and searched belongs to the newest schema; an older version that is gone back to does so for itself when it starts.
  const done = new Set((await db.changeSchema(readApplied)).map(({ name }) => name))
  if (migrations.every(({ name }) => done.has(name))) {
    await ensureRowCounts(db)
    await ensureSearchIndex(db)
  }
  return { applied, reverted }
}

interface Round {
  readonly dialect: DbHandle["dialect"]
  readonly migrations: readonly Migration[]
  readonly triggers: string
  readonly to: string | undefined
  readonly applied: string[]
  readonly reverted: string[]
}

/** False when there was nothing left to do. */
const oneStep = async (connection: SchemaConnection, round: Round): Promise<boolean> => {
  const before = await readApplied(connection)
  const step = nextStep(round.migrations, before, round.to)
  if (step === null) return false
  const name = step.direction === "up" ? step.migration.name : step.name
  try {
    await stopCounting(connection, round.dialect)
    await stopIndexing(connection, round.dialect, step.direction)
    if (step.direction === "up") {
      await runAll(connection, step.migration.up)
      await connection.all("insert into schema_migrations (name, checksum, down_sql) values (?, ?, ?)", [
        name,
        step.migration.checksum,
        step.migration.down,
      ])
      round.applied.push(name)
    } else {
      await runAll(connection, step.down)
      await connection.all("delete from schema_migrations where name = ?", [name])
      round.reverted.push(name)
    }
    // A rebuilt table has lost its triggers. Without any migration there is no table to put them on.
    if (step.direction === "up" || before.length > 1) await runAll(connection, round.triggers)
  } catch (error) {
    throw new AppError("invalid_state", `migration ${name} (${step.direction}) failed: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return true
}
