import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getLogger } from "@logtape/logtape"
import Database from "better-sqlite3"
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core"
import { until } from "../testing/until"
import { Checkpointer } from "./sqlite-checkpointer"
import { LogFlusher } from "./sqlite-flusher"
import { SqliteWriter } from "./sqlite-writer"

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup()
})

const notes = sqliteTable("notes", { id: integer("id").primaryKey(), body: text("body").notNull() })
const pageBytes = 4096
const longestLog = 100

/** A writer as `openSqlite` makes it, but with a log that is soon too long. `file` is what the thread is told to write back. */
const start = (threadFile?: string) => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-checkpointer-"))
  const file = join(folder, "a.db")
  const connection = new Database(file)
  connection.pragma("journal_mode = wal")
  connection.pragma("synchronous = normal")
  connection.pragma("wal_autocheckpoint = 0")
  connection.exec("create table notes (id integer primary key, body text not null)")
  const pages = connection.prepare<[], { log: number; checkpointed: number }>("pragma wal_checkpoint(noop)")
  let writtenHere = 0
  const unwritten = () => {
    const { log = 0, checkpointed = 0 } = pages.get() ?? {}
    return log - checkpointed
  }
  const checkpointer = new Checkpointer({
    file: threadFile ?? file,
    nativeBinding: undefined,
    logger: getLogger(["certctl", "test"]),
    unwritten,
    writeBack: () => {
      writtenHere += 1
      connection.pragma("wal_checkpoint(passive)")
    },
    longestLog,
  })
  const flusher = new LogFlusher(file)
  const writer = new SqliteWriter(connection, {
    deadlineMilliseconds: 5000,
    flushed: () => flusher.flushed(),
    checkpointer,
    committed: () => undefined,
  })
  const add = () => writer.transaction((tx) => tx.insert(notes).values({ body: "x".repeat(pageBytes) }))
  cleanups.push(async () => {
    await writer.close()
    await checkpointer.close()
    await flusher.close()
    connection.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    file,
    connection,
    add,
    unwritten,
    logBytes: () => statSync(`${file}-wal`).size,
    writtenHere: () => writtenHere,
  }
}

const writers = async (count: number, each: number, add: () => Promise<unknown>): Promise<void> => {
  await Promise.all(
    Array.from({ length: count }, async () => {
      for (let i = 0; i < each; i++) await add()
    }),
  )
}

test("the log stays short while many write, and the database has every row", async () => {
  const { file, add, logBytes, connection, writtenHere } = start()
  await writers(8, 500, add)
  // At least two pages for each of 4,000 rows were written to it.
  expect(logBytes()).toBeLessThan(3000 * pageBytes)
  expect(writtenHere()).toBe(0)
  expect(connection.prepare("select count(*) as n from notes").get()).toEqual({ n: 4000 })
  expect(connection.pragma("integrity_check", { simple: true })).toBe("ok")
  expect(statSync(file).size).toBeGreaterThan(1000 * pageBytes)
})

test("a reader that stays where it is keeps nobody from writing, and the log is written back behind it", async () => {
  const { file, add, unwritten } = start()
  const reader = new Database(file, { readonly: true })
  cleanups.push(() => reader.close())
  const rows = reader.prepare("select id from notes").iterate()
  await writers(4, 100, add)
  rows.return?.()
  await writers(4, 100, add)
  await until("the log is written back", async () => {
    await add()
    return unwritten() < longestLog
  })
})

test("where the thread cannot work, the log is written back all the same", async () => {
  const { add, unwritten, writtenHere } = start("/nowhere/a.db")
  await writers(4, 200, add)
  await until("the log is written back", async () => {
    await add()
    return writtenHere() > 0 && unwritten() < longestLog
  })
})
