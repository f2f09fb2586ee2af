import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { sql } from "drizzle-orm"
import { AppError } from "../errors"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertTarget } from "../testing/rows"
import { SqliteScanner } from "./sqlite-scanner"

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

const failureOf = async (work: PromiseLike<unknown>): Promise<unknown> => {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error("it did not fail")
}

const scannerOf = (options: { deadlineMilliseconds?: number; maxWaiting?: number; maxThreads?: number } = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-scan-"))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, "scanned.db")
  const db = new Database(file)
  db.pragma("journal_mode = wal")
  db.exec("create table rows (n int); insert into rows values (7)")
  cleanups.push(() => db.close())
  const scanner = new SqliteScanner({ file, nativeBinding: undefined, deadlineMilliseconds: 60_000, ...options })
  cleanups.push(() => scanner.close())
  return { scanner, query: scanner.query }
}

const rows = (query: SqliteScanner["query"]) => query.select({ n: sql<number>`n` }).from(sql`rows`)
/** Takes as long as it takes to count that far. */
const countTo = (query: SqliteScanner["query"], end: number) =>
  query
    .select({ n: sql<number>`n` })
    .from(
      sql`(with recursive s(i) as (select 1 union all select i + 1 from s where i < ${end}) select max(i) as n from s)`,
    )

test("a scan lets the event loop turn while it runs", async () => {
  const { query } = scannerOf()
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  expect(await countTo(query, 300_000)).toEqual([{ n: 300_000 }])
  clearInterval(timer)
  expect(turns).toBeGreaterThan(5)
})

test("a scan that takes too long is given up, and the next one has a thread of its own", async () => {
  const { query } = scannerOf({ deadlineMilliseconds: 300, maxThreads: 1 })
  const [late, next] = await Promise.all([failureOf(countTo(query, 20_000_000)), rows(query)])
  expect(late).toBeInstanceOf(AppError)
  expect(late).toMatchObject({ code: "unavailable", message: expect.stringContaining("took longer than 300 ms") })
  expect(next).toEqual([{ n: 7 }])
})

test("scans beyond what may wait are refused at once", async () => {
  const { query } = scannerOf({ maxWaiting: 2, maxThreads: 1 })
  const asked = Array.from({ length: 5 }, () =>
    rows(query).then(
      (found) => found.length,
      (error) => error,
    ),
  )
  const answers = await Promise.all(asked)
  expect(answers.filter((answer) => answer === 1)).toHaveLength(2)
  expect(answers.filter((answer) => answer instanceof AppError && answer.code === "unavailable")).toHaveLength(3)
  expect(await rows(query)).toEqual([{ n: 7 }])
})

test("a scan under way is refused when the database is closed, and so is one that comes later", async () => {
  const { scanner, query } = scannerOf({ maxThreads: 1 })
  const running = failureOf(countTo(query, 20_000_000))
  const waiting = failureOf(rows(query))
  scanner.close()
  for (const error of [await running, await waiting, await failureOf(rows(query))]) {
    expect(String(error)).toContain("the database is closed")
  }
})

onEachDialect("a scan", (openDb) => {
  test("sees what is committed, with the types of a read", async () => {
    const db = await openDb()
    const registeredAt = new Date("2030-01-02T03:04:05.678Z")
    await insertAgent(db, { id: "agent-1", registeredAt })
    await insertTarget(db, {
      id: "tgt-1",
      agentId: "agent-1",
      config: { host: "h" },
      encryptedConfig: Buffer.from("x"),
    })
    for (const query of [db.read, db.scan]) {
      expect(await query.select().from(db.t.agents)).toMatchObject([{ id: "agent-1", registeredAt, retiredAt: null }])
      const [target] = await query.select().from(db.t.deploymentTargets)
      expect(target).toMatchObject({ config: { host: "h" }, enabled: true })
      expect(target?.encryptedConfig?.toString()).toBe("x")
    }
    await insertAgent(db, { id: "agent-2" })
    expect(await db.scan.$count(db.t.agents)).toBe(2)
  })

  test("is refused inside a transaction", async () => {
    const db = await openDb()
    const failure = await failureOf(db.transaction(async () => void (await db.scan.select().from(db.t.agents))))
    expect(String(failure)).toContain("inside a transaction: use its tx")
  })

  test("that the database refuses says why", async () => {
    const db = await openDb()
    const failure = await failureOf(db.scan.select({ n: sql`nothing` }).from(db.t.agents))
    expect(String(failure)).toContain("nothing")
  })
})
