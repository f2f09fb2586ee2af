/**
 * `npm run db:generate`: writes the migrations of both dialects from the tables in src/db/tables. Until the first release there
 * is one, `0000_init`, which is regenerated whole: two branches' numbered files would collide.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  generateDrizzleJson,
  generateMigration,
  generateSQLiteDrizzleJson,
  generateSQLiteMigration,
} from "drizzle-kit/api"
import { postgresKit, sqliteKit } from "../src/db/kit"
import { allTables } from "../src/db/tables/tables"

const name = "0000_init"
const noId = "00000000-0000-0000-0000-000000000000"

type SqliteSnapshot = Awaited<ReturnType<typeof generateSQLiteDrizzleJson>>
type PostgresSnapshot = ReturnType<typeof generateDrizzleJson>

interface Draft {
  readonly snapshot: object
  readonly up: readonly string[]
  /** The same two snapshots swapped. */
  readonly down: readonly string[]
}

// A fixed id, so that the same tables give the same file.
const withFixedId = <S extends object>(snapshot: S): S => ({ ...snapshot, id: noId.replace(/0$/, "1"), prevId: noId })

interface IndexedTables {
  readonly tables: Readonly<Record<string, { indexes: Readonly<Record<string, { columns: readonly string[] }>> }>>
}

/** drizzle-kit splits an indexed expression at its commas and quotes the pieces as columns, for SQLite only. */
const mendIndexExpressions = (snapshot: IndexedTables, statements: readonly string[]): string[] => {
  const expressions = Object.values(snapshot.tables).flatMap((table) =>
    Object.values(table.indexes).flatMap(({ columns }) => columns.filter((column) => column.includes(","))),
  )
  return statements.map((statement) =>
    expressions.reduce((text, expression) => {
      const broken = expression.split(",").map((piece) => `\`${piece}\``)
      return text.replaceAll(broken.join(","), expression)
    }, statement),
  )
}

const sqliteDraft = async (): Promise<Draft> => {
  const empty: SqliteSnapshot = await generateSQLiteDrizzleJson({})
  const full = withFixedId<SqliteSnapshot>(await generateSQLiteDrizzleJson(allTables(sqliteKit)))
  return {
    snapshot: full,
    up: mendIndexExpressions(full as IndexedTables, await generateSQLiteMigration(empty, full)),
    down: await generateSQLiteMigration(full, empty),
  }
}

const postgresDraft = async (): Promise<Draft> => {
  const empty: PostgresSnapshot = generateDrizzleJson({})
  const full = withFixedId<PostgresSnapshot>(generateDrizzleJson(allTables(postgresKit)))
  return { snapshot: full, up: await generateMigration(empty, full), down: await generateMigration(full, empty) }
}

const textOf = (statements: readonly string[]): string =>
  `${statements.map((statement) => statement.trim()).join("\n--> statement-breakpoint\n")}\n`

/** The files of both dialects by their path below `drizzle/`. */
export const generateMigrations = async (): Promise<Map<string, string>> => {
  const drafts = { sqlite: await sqliteDraft(), postgres: await postgresDraft() }
  const files = new Map<string, string>()
  for (const [dialect, { snapshot, up, down }] of Object.entries(drafts)) {
    files.set(join(dialect, `${name}.sql`), textOf(up))
    files.set(join(dialect, `${name}.down.sql`), textOf(down))
    files.set(join(dialect, "meta", `${name.slice(0, 4)}_snapshot.json`), `${JSON.stringify(snapshot, null, 2)}\n`)
  }
  return files
}

const folder = join(import.meta.dir, "..", "drizzle")

const currentText = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null
    throw error
  }
}

if (import.meta.main) {
  const isCheck = process.argv.includes("--check")
  const changed: string[] = []
  for (const [path, text] of await generateMigrations()) {
    const file = join(folder, path)
    if (currentText(file) === text) continue
    changed.push(path)
    if (isCheck) continue
    mkdirSync(join(file, ".."), { recursive: true })
    writeFileSync(file, text)
  }
  console.log(
    changed.length === 0 ? "the migrations are up to date" : changed.map((path) => `drizzle/${path}`).join("\n"),
  )
  if (isCheck && changed.length > 0) {
    console.error("the migrations differ from the tables: run npm run db:generate")
    process.exitCode = 1
  }
}
