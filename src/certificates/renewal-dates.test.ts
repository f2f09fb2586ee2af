import { expect, setDefaultTimeout, test } from "bun:test"
import { asc, eq } from "drizzle-orm"
import type { Db } from "../db/db"
import { outboxQueue, outboxWorker } from "../outbox/outbox.service"
import { outboxStore } from "../outbox/outbox.store"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertTarget, mapTarget } from "../testing/rows"
import { certificateStore } from "./certificate.store"
import { dueStore } from "./due.store"
import { renewalDatesService } from "./renewal-dates.service"
import { renewalPoint } from "./renewal-point"
import { servingStore } from "./serving.store"
import { versionStore } from "./version.store"

// Hundreds of rows on a machine that may be busy.
setDefaultTimeout(60_000)

const dayMs = 86_400_000
const issuedAt = new Date(Date.UTC(2030, 0, 1))
const later = (days: number) => new Date(issuedAt.getTime() + days * dayMs)

const setUp = (db: Db) => {
  const clock = testClock("2030-02-01T00:00:00.000Z")
  const rows = outboxStore(db)
  const dates = renewalDatesService({
    db,
    certificates: certificateStore(db),
    versions: versionStore(db),
    serving: servingStore(db),
    due: dueStore(db),
    outbox: outboxQueue({ db, rows, clock }),
  })
  const errors: unknown[] = []
  const worker = outboxWorker({
    db,
    rows,
    handlers: dates.handlers,
    clock,
    onRowError: (_id, error) => errors.push(error),
  })
  return {
    dates,
    worker,
    errors,
    /** As the service of the policies does it. */
    widen: (renewalWindowDays: number) =>
      db.transaction(async (tx) => {
        await tx.update(db.t.renewalPolicies).set({ renewalWindowDays }).where(eq(db.t.renewalPolicies.id, "rp-1"))
        await dates.afterPolicyChanged(tx, "rp-1")
      }),
    owed: async () => (await db.read.select().from(db.t.outbox)).filter((row) => row.doneAt === null).length,
  }
}

/** Active certificates of 90 days, imported ones without a version of ours. */
const insertMany = async (db: Db, count: number): Promise<string[]> => {
  const ids = Array.from({ length: count }, (_, i) => `mc-${String(i).padStart(5, "0")}`)
  await insertCertificate(db, { id: "mc-0", createdAt: issuedAt, expiresAt: later(90), renewAt: later(1) })
  const [template] = await db.read.select().from(db.t.certificates)
  if (template === undefined) throw new Error("there is no certificate")
  await db.transaction(async (tx) => {
    for (let from = 0; from < count; from += 100) {
      const some = ids.slice(from, from + 100)
      await tx.insert(db.t.certificates).values(some.map((id) => ({ ...template, id, name: id })))
    }
  })
  return ["mc-0", ...ids]
}

onEachDialect("the renewal points under a policy that has changed", (openDb) => {
  test("are right at once where there are few, and follow each agent's own version", async () => {
    const db = await openDb()
    const { widen, owed } = setUp(db)
    await insertCertificate(db, { id: "mc-served", expiresAt: later(80), renewAt: later(70) })
    await insertCertificate(db, { id: "mc-gone", status: "Archived", expiresAt: later(90), renewAt: later(70) })
    for (const [agentId, days] of [
      ["agent-1", 80],
      ["agent-2", 90],
    ] as const) {
      await insertAgent(db, { id: agentId })
      await insertTarget(db, { id: `tgt-${agentId}`, agentId })
      await mapTarget(db, "mc-served", `tgt-${agentId}`)
      await db.transaction(async (tx) => {
        await tx.insert(db.t.certificateVersions).values({
          ...{ id: `cv-${agentId}`, certificateId: "mc-served", agentId, serialNumber: agentId, pemChain: "" },
          ...{ fingerprintSha256: agentId, notBefore: issuedAt, notAfter: later(days), createdAt: issuedAt },
        })
      })
    }
    await widen(10)
    expect(await owed()).toBe(0)
    const points = [80, 90].map((days) => renewalPoint("mc-served", 10, { issuedAt, notAfter: later(days) }))
    const versions = await db.read.select().from(db.t.certificateVersions).orderBy(asc(db.t.certificateVersions.id))
    expect(versions.map((version) => version.renewAt)).toEqual(points)
    expect(await certificateStore(db).get("mc-served")).toMatchObject({ expiresAt: later(80), renewAt: points[0] })
    expect((await certificateStore(db).get("mc-gone"))?.renewAt).toEqual(later(70))
  })

  test("come page by page where there are many, also after a crash in the middle", async () => {
    const db = await openDb()
    const ids = await insertMany(db, 330)
    const { widen, owed, worker, errors } = setUp(db)
    await widen(20)
    const right = (id: string) => renewalPoint(id, 20, { issuedAt, notAfter: later(90) }).getTime()
    const settled = async () =>
      (await db.read.select().from(db.t.certificates)).filter((row) => row.renewAt?.getTime() === right(row.id)).length
    // The call has answered; the rest is owed.
    const atOnce = await settled()
    expect(atOnce).toBeGreaterThan(0)
    expect(atOnce).toBeLessThan(ids.length)
    expect(await owed()).toBe(1)

    // A server that dies at once: what it had begun is another one's as soon as the claim has lapsed.
    const dying = new AbortController()
    const died = worker.work(dying.signal)
    dying.abort()
    await died
    expect(await owed()).toBe(1)

    const successor = setUp(db)
    const clock = testClock("2030-02-02T00:00:00.000Z")
    const next = outboxWorker({
      db,
      rows: outboxStore(db),
      handlers: successor.dates.handlers,
      clock,
      onRowError: (_id, error) => errors.push(error),
    })
    await next.work(new AbortController().signal)
    expect(await settled()).toBe(ids.length)
    expect(await owed()).toBe(0)
    expect(errors).toEqual([])
  })
})
