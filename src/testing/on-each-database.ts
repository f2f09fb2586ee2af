/** Runs the same journeys with a server on SQLite in its data directory and on a PostgreSQL database of its own. */
import { afterEach, beforeAll, describe } from "bun:test"
import postgres from "postgres"
import { createTestDatabase, prepareLimitMs, prepareTestPostgres } from "./postgres"
import { encryptionKey } from "./server-process"
import { openStage, type Stage } from "./stage"

export interface Scene {
  readonly stage: Stage
  /** What makes a server use the database. */
  readonly env: Readonly<Record<string, string>>
}

/** The environment of a server on an empty PostgreSQL database that goes with the stage. */
export const postgresScene = async (): Promise<Scene & { url: string }> => {
  const stage = openStage()
  const database = await createTestDatabase({ isEmpty: true })
  stage.onEnd(() => database.drop())
  return {
    stage,
    url: database.url,
    env: { CERTCTL_DATABASE_URL: database.url, CERTCTL_CONFIG_ENCRYPTION_KEY: encryptionKey },
  }
}

/** Every value of every row as text, byte columns as what they spell. */
export const postgresContents = async (url: string): Promise<string> => {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    const tables = await sql`select tablename from pg_tables where schemaname = 'public'`
    const contents: string[] = []
    for (const { tablename } of tables) {
      for (const row of await sql`select * from ${sql(tablename)}`) {
        contents.push(
          ...Object.values(row).map((value) => (Buffer.isBuffer(value) ? value.toString("latin1") : String(value))),
        )
      }
    }
    return contents.join("\n")
  } finally {
    await sql.end()
  }
}

/** The stage is opened before each test and ended after it. */
export const onEachDatabase = (name: string, tests: (open: () => Promise<Scene>) => void): void => {
  for (const dialect of ["SQLite", "PostgreSQL"] as const) {
    describe(`${name} (${dialect})`, () => {
      let opened: Scene | undefined
      if (dialect === "PostgreSQL") beforeAll(prepareTestPostgres, prepareLimitMs)
      afterEach(async () => {
        await opened?.stage.end()
        opened = undefined
      })
      tests(async () => {
        opened = dialect === "SQLite" ? { stage: openStage(), env: {} } : await postgresScene()
        return opened
      })
    })
  }
}
