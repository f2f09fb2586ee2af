import { expect, test } from "bun:test"
import { asc } from "drizzle-orm"
import type { NewJob } from "../jobs/job.store"
import { onEachDialect } from "../testing/on-each-dialect"
import { hotInsertCount } from "./hot"
import { updateEach } from "./update-each"

const job = (nth: number): NewJob & { createdAt: Date } => ({
  id: `job-${String(nth).padStart(4, "0")}`,
  type: "Validation",
  status: "Pending",
  attempts: nth % 3,
  lastError: "before",
  statusSince: new Date(nth),
  scheduledAt: new Date(nth),
  createdAt: new Date(1_700_000_000_000 + nth),
})

onEachDialect("several rows", (openDb) => {
  test("are changed to values of their own, those that are as they were seen", async () => {
    const db = await openDb()
    const insert = hotInsertCount("insert_jobs_to_update", db.t.jobs, db.t.jobs.id)
    const update = updateEach(db.t.jobs, {
      set: ["status", "attempts", "lastError", "ignoresWindows", "completedAt"],
      seen: ["status", "attempts"],
    })
    const jobs = Array.from({ length: 60 }, (_, nth) => job(nth))
    await db.transaction((tx) => insert(tx, jobs))
    const before = await db.read.select().from(db.t.jobs).orderBy(asc(db.t.jobs.id))
    const changes = jobs.slice(10).map((row, nth) => ({
      id: row.id,
      set: {
        status: "Running" as const,
        attempts: nth + 10,
        lastError: nth % 2 === 0 ? null : `"quoted" \\ ' ? $1 ü 🔑\n\t${nth}`,
        ignoresWindows: nth % 4 === 0,
        completedAt: nth % 5 === 0 ? null : new Date(-86_400_001 + nth),
      },
      // Every seventh was seen otherwise.
      seen: { status: "Pending" as const, attempts: nth % 7 === 0 ? 9 : (row.attempts ?? 0) },
    }))
    const isSeen = (nth: number) => nth % 7 !== 0
    const changed = await db.transaction((tx) => update(tx, changes))
    expect(changed).toBe(changes.filter((_, nth) => isSeen(nth)).length)
    const expected = before.map((row, at) => {
      const change = changes[at - 10]
      return change !== undefined && isSeen(at - 10) ? { ...row, ...change.set } : row
    })
    expect(await db.read.select().from(db.t.jobs).orderBy(asc(db.t.jobs.id))).toEqual(expected)
    expect(await db.transaction((tx) => update(tx, []))).toBe(0)
  })
})
