import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { count } from "drizzle-orm"
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core"
import { until } from "../testing/until"
import type { DbHandle, Tx } from "./db"
import { backupSqlite, openSqlite } from "./sqlite"
import { SqliteWriter } from "./sqlite-writer"

const notes = sqliteTable("notes", { id: integer("id").primaryKey(), body: text("body").notNull() })

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup()
})

const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-sqlite-"))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const open = async (file: string, deadlineMilliseconds?: number): Promise<DbHandle> => {
  const db = await openSqlite({ file, deadlineMilliseconds })
  cleanups.push(() => db.close())
  await db.changeSchema((connection) =>
    connection.run("create table if not exists notes (id integer primary key, body text not null)"),
  )
  return db
}

/** Its batches take in whatever is queued, however slow the machine is at this moment. */
const newWriter = (
  connection: Database.Database,
  committed: (turn: unknown) => void = () => undefined,
  flushed: () => Promise<void> = async () => undefined,
) =>
  new SqliteWriter(connection, {
    deadlineMilliseconds: 5000,
    batchMilliseconds: 5000,
    flushed,
    checkpointer: { committed: () => undefined, pause: () => undefined },
    committed,
  })

const addNote = async (tx: Tx, body: string) => {
  await tx.insert(notes).values({ body })
}

const noteCount = async (db: DbHandle): Promise<number> => {
  const [row] = await db.read.select({ n: count() }).from(notes)
  return row?.n ?? -1
}

test("rolls back a transaction that is past its deadline, refuses what wakes up in it, and serves the others", async () => {
  const db = await open(join(newFolder(), "a.db"), 30)
  const { promise: woken, resolve: wake } = Promise.withResolvers<void>()
  const { promise: lateResult, resolve: tellLate } = Promise.withResolvers<unknown>()
  const stuck = db.transaction(async (tx) => {
    await addNote(tx, "stuck")
    await woken
    await addNote(tx, "late").catch(tellLate)
  })
  const next = db.transaction((tx) => addNote(tx, "next"))
  await expect(stuck).rejects.toThrow("took longer than 30 ms")
  await next
  wake()
  expect(String(await lateResult)).toContain("outside of its run")
  expect(await db.read.select().from(notes)).toEqual([{ id: 1, body: "next" }])
})

test("nobody hears of success before the disk has it, and others go on meanwhile", async () => {
  const connection = new Database(join(newFolder(), "a.db"))
  cleanups.push(() => connection.close())
  connection.pragma("journal_mode = wal")
  connection.exec("create table notes (id integer primary key, body text not null)")
  const flushes: PromiseWithResolvers<void>[] = []
  const heard: string[] = []
  const writer = newWriter(
    connection,
    () => heard.push("committed"),
    () => {
      const flush = Promise.withResolvers<void>()
      flushes.push(flush)
      return flush.promise
    },
  )
  const first = writer.transaction((tx) => addNote(tx, "first")).then(() => heard.push("first"))
  await until("the first is committed", () => flushes.length === 1)
  const second = writer.transaction((tx) => addNote(tx, "second"))
  await until("the second is committed", () => flushes.length === 2)
  expect(connection.prepare("select count(*) as n from notes").get()).toEqual({ n: 2 })
  expect(heard).toEqual([])
  flushes[0]?.resolve()
  await first
  expect(heard).toEqual(["committed", "first"])
  // The disk is broken: what was committed may be lost.
  flushes[1]?.reject(new Error("the disk is broken"))
  await expect(second).rejects.toThrow("the disk is broken")
  expect(heard).toEqual(["committed", "first"])
  await writer.close()
})

test("a full disk fails every transaction of the batch and no later one", async () => {
  const connection = new Database(join(newFolder(), "full.db"))
  cleanups.push(() => connection.close())
  connection.pragma("journal_mode = wal")
  connection.exec("create table notes (id integer primary key, body text not null)")
  const writer = newWriter(connection)
  const pages = connection.pragma("page_count", { simple: true })
  connection.pragma(`max_page_count = ${Number(pages) + 10}`)

  const outcomes = await Promise.allSettled([
    writer.transaction((tx) => addNote(tx, "before")),
    writer.transaction(async (tx) => {
      // Whoever catches the error must not go on outside of a transaction.
      await addNote(tx, "x".repeat(1_000_000)).catch(() => undefined)
      await addNote(tx, "after")
    }),
    writer.transaction((tx) => addNote(tx, "queued")),
  ])
  expect(outcomes.slice(0, 2).map((outcome) => outcome.status === "rejected" && outcome.reason.code)).toEqual([
    "SQLITE_FULL",
    "SQLITE_FULL",
  ])
  expect(outcomes[2]?.status).toBe("fulfilled")

  connection.pragma("max_page_count = 100000")
  await writer.transaction((tx) => addNote(tx, "x".repeat(1_000_000)))
  const bodies = connection.prepare<[], { body: string }>("select substr(body, 1, 6) as body from notes").all()
  expect(bodies.map(({ body }) => body)).toEqual(["queued", "xxxxxx"])
})

test("a failing COMMIT fails everybody in the batch and nobody after it", async () => {
  const connection = new Database(join(newFolder(), "deferred.db"))
  cleanups.push(() => connection.close())
  connection.pragma("foreign_keys = on")
  connection.exec("create table notes (id integer primary key, body text not null)")
  // A deferred foreign key is the way to make a COMMIT fail on purpose.
  connection.exec("create table links (note integer references notes deferrable initially deferred)")
  const links = sqliteTable("links", { note: integer("note") })
  const committed: unknown[] = []
  const writer = newWriter(connection, (turn) => committed.push(turn))
  const outcomes = await Promise.allSettled([
    writer.transaction((tx) => addNote(tx, "innocent")),
    writer.transaction(async (tx) => await tx.insert(links).values({ note: 99 })),
  ])
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"])
  expect(committed).toEqual([])
  await writer.transaction((tx) => addNote(tx, "later"))
  expect(connection.prepare("select id, body from notes").all()).toEqual([{ id: 1, body: "later" }])
})

const child = (script: string, file: string) =>
  Bun.spawn([process.execPath, "-e", script, file], {
    cwd: join(import.meta.dir, "..", ".."),
    stdout: "pipe",
    stderr: "pipe",
  })

const crashingScript = `
  const { openSqlite } = await import("./src/db/sqlite")
  const { integer, sqliteTable, text } = await import("drizzle-orm/sqlite-core")
  const { writeSync } = await import("node:fs")
  const notes = sqliteTable("notes", { id: integer("id").primaryKey(), body: text("body").notNull() })
  const db = await openSqlite({ file: process.argv.at(-1) })
  const work = async () => {
    for (;;) {
      const name = crypto.randomUUID()
      await db.transaction(async (tx) => {
        await tx.insert(notes).values({ body: name + " first" })
        await tx.insert(notes).values({ body: name + " second" })
      })
      writeSync(1, name + "\\n")
    }
  }
  await Promise.all(Array.from({ length: 40 }, work))
`

test("kill -9 loses nothing acknowledged and leaves nothing half", async () => {
  const file = join(newFolder(), "crash.db")
  await (await open(file)).close()
  const acknowledged: string[] = []
  for (let round = 1; round <= 4; round += 1) {
    const writer = child(crashingScript, file)
    let output = ""
    const decoder = new TextDecoder()
    // Each round gets further before it is killed; what is still in the pipe was acknowledged as well.
    for await (const chunk of writer.stdout) {
      output += decoder.decode(chunk, { stream: true })
      if (output.length > round * 20_000) writer.kill("SIGKILL")
    }
    await writer.exited
    if (output === "") throw new Error(await new Response(writer.stderr).text())
    acknowledged.push(...output.slice(0, output.lastIndexOf("\n")).split("\n"))
  }

  const db = await open(file)
  const bodies = new Set((await db.read.select({ body: notes.body }).from(notes)).map(({ body }) => body))
  expect(acknowledged.length).toBeGreaterThan(1000)
  expect(acknowledged.filter((name) => !bodies.has(`${name} first`) || !bodies.has(`${name} second`))).toEqual([])
  const half = [...bodies].filter((body) => {
    const [name, part] = body.split(" ")
    return !bodies.has(`${name} ${part === "first" ? "second" : "first"}`)
  })
  expect(half).toEqual([])
}, 30_000)

test("refuses a file that another process has open, in one line", async () => {
  const folder = newFolder()
  const db = await open(join(folder, "a.db"))
  const script = `
    const { openSqlite } = await import("./src/db/sqlite")
    await openSqlite({ file: process.argv.at(-1) }).then(() => console.log("opened"), (error) => console.log(error.message))
  `
  const second = child(script, join(folder, "a.db"))
  expect(await new Response(second.stdout).text()).toBe(
    `the database in ${folder} is in use by another certctl process\n`,
  )
  await db.close()
  expect(await new Response(child(script, join(folder, "a.db")).stdout).text()).toBe("opened\n")
})

test("the lock holds through garbage collection", async () => {
  const folder = newFolder()
  const db = await open(join(folder, "a.db"))
  Bun.gc(true)
  await expect(openSqlite({ file: join(folder, "a.db") })).rejects.toThrow("in use by another certctl process")
  await db.ping()
})

test("keeps the file to its owner", async () => {
  const folder = newFolder()
  const db = await open(join(folder, "deep", "a.db"))
  await db.transaction((tx) => addNote(tx, "one"))
  expect(statSync(join(folder, "deep")).mode & 0o777).toBe(0o700)
  for (const file of ["a.db", "a.db-wal", "a.db-shm"]) {
    expect(statSync(join(folder, "deep", file)).mode & 0o777).toBe(0o600)
  }
})

test("a backup taken while others write is one moment of the database", async () => {
  const folder = newFolder()
  const db = await open(join(folder, "a.db"))
  await db.transaction(async (tx) => {
    for (let n = 0; n < 200; n += 1) await addNote(tx, "x".repeat(20_000))
  })
  const state = { isDone: false, written: 0 }
  const writing = (async () => {
    while (!state.isDone) {
      await db.transaction(async (tx) => {
        await addNote(tx, "pair")
        await addNote(tx, "pair")
      })
      state.written += 2
    }
  })()
  const destination = join(folder, "copy.db")
  await backupSqlite({ file: join(folder, "a.db"), destination })
  state.isDone = true
  await writing
  expect(state.written).toBeGreaterThan(2)
  await expect(backupSqlite({ file: join(folder, "a.db"), destination })).rejects.toThrow("exists already")
  expect(statSync(destination).mode & 0o777).toBe(0o600)

  const copy = new Database(destination, { readonly: true })
  cleanups.push(() => copy.close())
  expect(copy.pragma("integrity_check", { simple: true })).toBe("ok")
  const copied = Number(copy.prepare("select count(*) from notes").pluck().get())
  expect(copied % 2).toBe(0)
  expect(copied).toBeGreaterThanOrEqual(200)
  expect(await noteCount(db)).toBe(200 + state.written)
})
