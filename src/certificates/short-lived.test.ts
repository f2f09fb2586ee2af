import { expect, setDefaultTimeout, test } from "bun:test"
import type { Db } from "../db/db"
import { testClock } from "../testing/assembled-app"
import { dayMs, layOut, lifecycleServer, outsideCa } from "../testing/lifecycle-world"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertCertificate } from "../testing/rows"
import { certificateStore } from "./certificate.store"
import { dueStore } from "./due.store"
import { shortLivedService } from "./short-lived.service"

// Hundreds of rows on a machine that may be busy.
setDefaultTimeout(60_000)

const never = new AbortController().signal

const setUp = async (db: Db) => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  await layOut(db, clock.now())
  const ca = outsideCa(clock.now, dayMs)
  const { lifecycle, audit } = lifecycleServer({ db, clock, serverId: "server-1", ca, lifetimeMs: dayMs })
  const errors: string[] = []
  const certificates = certificateStore(db)
  const service = shortLivedService({
    ...{ db, certificates, due: dueStore(db), lifecycle, audit, clock },
    onRowError: (id) => errors.push(id),
  })
  const stamps = { createdAt: clock.now(), updatedAt: clock.now() }
  const lists = { allowedKeyAlgorithms: [], allowedEkus: [], requiredSanPatterns: [], requiredCsrAttributes: [] }
  await db.transaction(async (tx) => {
    for (const [id, allowShortLived, maxTtlSeconds] of [
      ["prof-short", true, 600],
      ["prof-hour", true, 3600],
      ["prof-off", false, 600],
    ] as const) {
      await tx
        .insert(db.t.certificateProfiles)
        .values({ id, name: id, allowShortLived, maxTtlSeconds, ...lists, ...stamps })
    }
  })
  const insert = (id: string, minutes: number, more: Parameters<typeof insertCertificate>[1] = {}) =>
    insertCertificate(db, {
      ...{
        id,
        certificateProfileId: "prof-short",
        status: "Active",
        expiresAt: new Date(clock.now().getTime() + minutes * 60_000),
      },
      ...more,
    })
  const statusOf = async (id: string): Promise<string | undefined> => (await certificates.get(id))?.status
  return { clock, service, insert, statusOf, audit, errors }
}

onEachDialect("short-lived certificates", (openDb) => {
  test("are said to have expired as soon as they have, and no others", async () => {
    const db = await openDb()
    const { clock, service, insert, statusOf, audit, errors } = await setUp(db)
    await insert("mc-now", 0)
    await insert("mc-expiring", -5, { status: "Expiring" })
    await insert("mc-soon", 1)
    await insert("mc-renewing", -1, { status: "RenewalInProgress" })
    await insert("mc-hour", -1, { certificateProfileId: "prof-hour" })
    await insert("mc-off", -1, { certificateProfileId: "prof-off" })
    await insert("mc-none", -1, { certificateProfileId: null })

    expect(await service.expire(never)).toBe(2)
    expect(await Promise.all(["mc-now", "mc-expiring", "mc-soon", "mc-renewing", "mc-hour"].map(statusOf))).toEqual([
      ...["Expired", "Expired", "Active", "RenewalInProgress", "Active"],
    ])
    expect(await service.expire(never)).toBe(0)
    clock.advance(60_000)
    expect(await service.expire(never)).toBe(1)
    const { rows } = await audit.list({ action: "short_lived_cert_expired" }, { page: 1, per_page: 10 })
    expect(rows.map((row) => row.resourceId).toSorted()).toEqual(["mc-expiring", "mc-now", "mc-soon"])
    expect(rows.every((row) => row.actor === "system")).toBe(true)
    expect(errors).toEqual([])
  })

  test("are all found, however many expire in one second", async () => {
    const db = await openDb()
    const { service, insert } = await setUp(db)
    const template = await insert("mc-0", -1)
    const ids = Array.from({ length: 209 }, (_, i) => `mc-${i + 1}`)
    await db.transaction(async (tx) => {
      await tx.insert(db.t.certificates).values(ids.map((id) => ({ ...template, id, name: id })))
    })
    expect(await service.expire(never)).toBe(210)
  })
})
