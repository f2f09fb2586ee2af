import { expect, test } from "bun:test"
import { newId } from "../db/ids"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertTarget, mapTarget } from "../testing/rows"
import type { CertificateStatus } from "./certificate.machine"
import { certificateStore } from "./certificate.store"

const now = new Date("2030-05-01T12:00:00.000Z")
const inDays = (days: number) => new Date(now.getTime() + days * 86_400_000)

onEachDialect("the certificate list", (openDb) => {
  test("shows an active certificate by its date, and filters by what it shows", async () => {
    const db = await openDb()
    const rows: [string, CertificateStatus, Date | null][] = [
      ["far", "Active", inDays(31)],
      ["imported", "Active", null],
      ["near", "Active", inDays(29)],
      ["said", "Expiring", inDays(40)],
      ["over", "Active", inDays(-1)],
      ["dead", "Expired", inDays(-9)],
      ["gone", "Archived", inDays(5)],
    ]
    for (const [id, status, expiresAt] of rows) await insertCertificate(db, { id, status, expiresAt })
    const store = certificateStore(db)
    const shown = async (status: CertificateStatus) => {
      const shownStatus = { status, now, expiringUntil: inDays(30) }
      const found = await store.list({ shownStatus }, null, { limit: 50, offset: 0 })
      expect(await store.total({ shownStatus })).toBe(found.length)
      return found.map(({ id }) => id).sort()
    }
    expect(await shown("Active")).toEqual(["far", "imported"])
    expect(await shown("Expiring")).toEqual(["near", "said"])
    expect(await shown("Expired")).toEqual(["dead", "over"])
    expect(await shown("Archived")).toEqual(["gone"])
  })

  test("tells the targets of each certificate in their order, by whatever it is sorted", async () => {
    const db = await openDb()
    await insertAgent(db, { id: "a" })
    for (const id of ["t-2", "t-1", "t-3"]) await insertTarget(db, { id, agentId: "a" })
    for (const id of ["none", "two", "one"]) await insertCertificate(db, { id, expiresAt: inDays(id.length) })
    await mapTarget(db, "two", "t-3")
    await mapTarget(db, "two", "t-1")
    await mapTarget(db, "one", "t-2")
    const store = certificateStore(db)
    const sorts = [null, { column: "name", descending: true }, { column: "expiresAt", descending: false }] as const
    for (const sort of sorts) {
      const found = await store.list({}, sort, { limit: 10, offset: 0 })
      expect(Object.fromEntries(found.map(({ id, targetIds }) => [id, targetIds]))).toEqual({
        none: [],
        two: ["t-1", "t-3"],
        one: ["t-2"],
      })
    }
    expect((await store.mapped("two"))?.targetIds).toEqual(["t-1", "t-3"])
    expect((await store.mapped("none"))?.targetIds).toEqual([])
    expect(await store.mapped("nobody")).toBeNull()
  })

  test("finds a certificate by the serial or the fingerprint of any of its versions, however they are written", async () => {
    const db = await openDb()
    await insertCertificate(db, { id: "mc-1" })
    await insertCertificate(db, { id: "mc-2" })
    const fingerprint = "9f".repeat(32)
    await db.transaction(async (tx) => {
      await tx.insert(db.t.certificateVersions).values({
        id: newId("cv-"),
        certificateId: "mc-2",
        serialNumber: "0a1b2c3d4e5f60718293",
        fingerprintSha256: fingerprint,
        pemChain: "",
        notBefore: now,
        notAfter: inDays(9),
        createdAt: now,
      })
    })
    const store = certificateStore(db)
    for (const search of ["0A:1B:2C:3D:4E:5F:60:71:82:93", "0a1b2c3d4e5f60718293", fingerprint.toUpperCase()]) {
      expect((await store.list({ search }, null, { limit: 10, offset: 0 })).map(({ id }) => id)).toEqual(["mc-2"])
    }
    expect(await store.list({ search: "0a1b2c3d4e5f6071" }, null, { limit: 10, offset: 0 })).toEqual([])
  })

  test("of more than a thousand that have a text the total ends there, and every one is still listed", async () => {
    const db = await openDb()
    const row = await insertCertificate(db, { id: "mc-0", status: "Failed" })
    const rows = Array.from({ length: 1004 }, (_, n) => ({
      ...row,
      id: `mc-x${n}`,
      name: `many ${n}`,
      status: "Active" as const,
    }))
    await db.transaction(async (tx) => {
      for (let from = 0; from < rows.length; from += 200) {
        await tx.insert(db.t.certificates).values(rows.slice(from, from + 200))
      }
    })
    const store = certificateStore(db)
    expect(await store.total({ search: "mc-" })).toBe(1000)
    expect(await store.total({ search: "mc-", status: "Active" })).toBe(1000)
    expect(await store.total({ search: "mc-", status: "Failed" })).toBe(1)
    expect(await store.total({ search: "many 100" })).toBe(5)
    expect(await store.total({ search: "mc" })).toBe(1000)
    expect(await store.list({ search: "mc-" }, null, { limit: 500, offset: 1000 })).toHaveLength(5)
    expect(await store.list({ search: "mc-", ids: ["mc-0", "other"] }, null, { limit: 9, offset: 0 })).toHaveLength(1)
  })
})
