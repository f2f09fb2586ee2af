import { expect, setDefaultTimeout, test } from "bun:test"
import { eq } from "drizzle-orm"
import type { Db } from "../db/db"
import { testClock } from "../testing/assembled-app"
import { dayMs, lifecycleServer, outsideCa } from "../testing/lifecycle-world"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertStorm } from "../testing/storm-world"
import { type CertificateNews, noNews } from "./certificate-news"

// Hundreds of rows on a machine that may be busy.
setDefaultTimeout(60_000)

const never = new AbortController().signal

const setUp = async (db: Db, count: number, news: CertificateNews = noNews) => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  await insertStorm(db, { issuers: { "iss-inside": count }, agents: 3, now: clock.now() })
  const errors: string[] = []
  const server = lifecycleServer({
    ...{ db, clock, serverId: "server-1", ca: outsideCa(clock.now, 90 * dayMs), lifetimeMs: 90 * dayMs },
    news,
    onError: (what, error) => errors.push(`${what}: ${error}`),
  })
  const jobs = async () => (await db.read.select().from(db.t.jobs)).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const expiryOf = new Map((await db.read.select().from(db.t.certificates)).map((row) => [row.id, row.expiresAt]))
  return { clock, server, errors, jobs, expiryOf }
}

onEachDialect("the renewal check", (openDb, dialect) => {
  test("opens one job for each certificate that is due, soonest expiry first, and none the second time", async () => {
    const db = await openDb()
    const { server, jobs, expiryOf, errors } = await setUp(db, 230)
    expect(await server.renewals.checkAll(never)).toEqual({ checked: 230, opened: 230 })
    const opened = await jobs()
    expect(new Set(opened.map((job) => job.certificateId)).size).toBe(230)
    const order = opened.map((job) => expiryOf.get(job.certificateId ?? "")?.getTime() ?? 0)
    // Batches that run side by side on PostgreSQL may pass each other.
    if (dialect === "sqlite") expect(order).toEqual(order.toSorted((a, b) => a - b))
    const statuses = await db.read.select({ status: db.t.certificates.status }).from(db.t.certificates)
    expect(new Set(statuses.map((row) => row.status))).toEqual(new Set(["RenewalInProgress"]))
    expect(await server.renewals.checkAll(never)).toEqual({ checked: 230, opened: 0 })
    expect(await jobs()).toEqual(opened)
    expect(errors).toEqual([])
  })

  test("leaves out a row that fails, and tells of it; the others of its batch go on", async () => {
    const db = await openDb()
    const bad = "mc-iss-inside-7"
    const { server, jobs, errors } = await setUp(db, 60, {
      ...noNews,
      unsaid: async (_query, looked) => new Set(looked.map(({ certificate }) => certificate.id)),
      async checked(_tx, { id }) {
        if (id === bad) throw new Error("nobody can be told")
      },
    })
    expect((await server.renewals.checkAll(never)).opened).toBe(59)
    expect((await jobs()).map((job) => job.certificateId)).not.toContain(bad)
    expect(errors).toEqual([`renewal of ${bad}: Error: nobody can be told`])
  })

  test("looks at what is due far ahead of its expiry too", async () => {
    const db = await openDb()
    const { server, clock, jobs } = await setUp(db, 3)
    await db.transaction(async (tx) => {
      await tx
        .update(db.t.certificates)
        .set({ expiresAt: new Date(clock.now().getTime() + 300 * dayMs) })
        .where(eq(db.t.certificates.id, "mc-iss-inside-1"))
    })
    expect(await server.renewals.checkAll(never)).toEqual({ checked: 3, opened: 3 })
    expect((await jobs()).at(-1)?.certificateId).toBe("mc-iss-inside-1")
  })

  test("stops when it is told to", async () => {
    const db = await openDb()
    const { server, jobs } = await setUp(db, 20)
    const stop = new AbortController()
    stop.abort()
    await server.renewals.checkAll(stop.signal)
    expect(await jobs()).toEqual([])
  })
})
