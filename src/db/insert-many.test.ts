import { expect, test } from "bun:test"
import { asc } from "drizzle-orm"
import { jobStore, type NewJob } from "../jobs/job.store"
import { onEachDialect } from "../testing/on-each-dialect"
import { hotInsert, hotInsertCount } from "./hot"

/** Of every kind of column: texts that need care in JSON, JSON itself, numbers, times, yes and no, and nothing. */
const job = (nth: number): NewJob & { createdAt: Date } => ({
  id: `job-${String(nth).padStart(4, "0")}`,
  type: "Validation",
  status: "Pending",
  attempts: nth,
  ...(nth % 2 === 0 ? {} : { maxAttempts: 7, ignoresWindows: true, lastError: `"quoted" \\ ' ? $1 ü 🔑\n\t${nth}` }),
  deploymentResult: nth % 3 === 0 ? null : { steps: [nth, "a'b\"c"], isDone: false, none: null },
  statusSince: new Date(nth),
  scheduledAt: new Date(-86_400_001 + nth),
  createdAt: new Date(1_700_000_000_000 + nth),
})

onEachDialect("many rows", (openDb) => {
  test("are stored as they would be one by one, in any number", async () => {
    const db = await openDb()
    const insert = hotInsert("insert_jobs_here", db.t.jobs)
    const read = () => db.read.select().from(db.t.jobs).orderBy(asc(db.t.jobs.id))
    const jobs = Array.from({ length: 120 }, (_, nth) => job(nth))
    await db.transaction(async (tx) => {
      for (const one of jobs) await insert(tx, [one])
    })
    const expected = await read()
    for (const size of [7, 51, 120]) {
      const answered = await db.transaction(async (tx) => {
        await tx.delete(db.t.jobs)
        const rows = []
        for (let from = 0; from < jobs.length; from += size) {
          rows.push(...(await insert(tx, jobs.slice(from, from + size))))
        }
        return rows
      })
      expect(await read()).toEqual(expected)
      expect(answered.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual(expected)
    }
  })

  test("leave out those that are there already, and half a character", async () => {
    const db = await openDb()
    const insert = hotInsertCount("count_jobs_here", db.t.jobs, db.t.jobs.id)
    const jobs = Array.from({ length: 60 }, (_, nth) => ({ ...job(nth), lastError: "🔑".slice(0, 1) }))
    expect(await db.transaction((tx) => insert(tx, jobs.slice(0, 20)))).toBe(20)
    expect(await db.transaction((tx) => insert(tx, jobs))).toBe(40)
  })

  test("of jobs are answered as they are stored, without those that an open one is in the way of", async () => {
    const db = await openDb()
    const jobs = jobStore(db)
    const added = Array.from({ length: 60 }, (_, nth) => job(nth))
    const stored = await db.transaction((tx) => jobs.insertAll(tx, added))
    expect(stored).toEqual(await db.read.select().from(db.t.jobs).orderBy(asc(db.t.jobs.id)))
    const again = await db.transaction((tx) => jobs.insertAll(tx, [...added.slice(0, 30), job(100), job(101)]))
    expect(again.map((row) => row.id)).toEqual(["job-0100", "job-0101"])
  })
})
