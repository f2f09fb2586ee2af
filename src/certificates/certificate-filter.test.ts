import { expect, test } from "bun:test"
import fc from "fast-check"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertTarget, mapTarget } from "../testing/rows"
import { type CertificateRow, certificateStore } from "./certificate.store"
import type { CertificateFilter, CertificateSort } from "./certificate-list.store"

const now = new Date("2030-06-15T10:00:00Z")
const hours = [-1000, -11, -10, -1, 0, 1, 13, 14, 15, 719, 720, 721, 2000] as const
const at = (value: number) => new Date(now.getTime() + value * 3_600_000)
const expiringUntil = at(720)

const time = fc.constantFrom(...hours).map(at)
const status = fc.constantFrom("Active", "Expiring", "Expired", "Revoked", "Archived", "Pending")
const environment = fc.constantFrom("", "prod", "test")
const row = fc.record({ status, environment, expiresAt: fc.option(time), createdAt: time, updatedAt: time })
const shownStatus = fc.record({ status, now: fc.constant(now), expiringUntil: fc.constant(expiringUntil) })
const filter: fc.Arbitrary<CertificateFilter> = fc.record(
  {
    status,
    environment,
    ownerId: fc.constantFrom("o-1", "o-2"),
    agentId: fc.constantFrom("agent-1", "agent-2"),
    shownStatus,
    expiresBefore: time,
    expiresAfter: time,
    createdAfter: time,
    createdUntil: time,
    updatedAfter: time,
  },
  { requiredKeys: [] },
)
const sort: fc.Arbitrary<CertificateSort> = fc.record({
  column: fc.constantFrom("expiresAt", "createdAt", "updatedAt", "name", "status", "environment"),
  descending: fc.boolean(),
})

const isShownAs = ({ status: stored, expiresAt }: CertificateRow, shown: string): boolean => {
  if (stored !== "Active" || expiresAt === null || expiresAt >= expiringUntil) return stored === shown
  return shown === (expiresAt < now ? "Expired" : "Expiring")
}

const isIn = (certificate: CertificateRow, served: ReadonlySet<string>, asked: CertificateFilter): boolean => {
  const { expiresAt, createdAt, updatedAt } = certificate
  const isBefore = (one: Date | null, end: Date | undefined) => end === undefined || (one !== null && one < end)
  const isAfter = (one: Date | null, end: Date | undefined) => end === undefined || (one !== null && one > end)
  return (
    (asked.status === undefined || certificate.status === asked.status) &&
    (asked.environment === undefined || certificate.environment === asked.environment) &&
    (asked.ownerId === undefined || certificate.ownerId === asked.ownerId) &&
    (asked.agentId === undefined || (asked.agentId === "agent-1" && served.has(certificate.id))) &&
    (asked.shownStatus === undefined || isShownAs(certificate, asked.shownStatus.status)) &&
    isBefore(expiresAt, asked.expiresBefore) &&
    isAfter(expiresAt, asked.expiresAfter) &&
    isAfter(createdAt, asked.createdAfter) &&
    (asked.createdUntil === undefined || createdAt <= asked.createdUntil) &&
    isAfter(updatedAt, asked.updatedAfter)
  )
}

const compare = <V extends string | number>(a: V, b: V): number => (a < b ? -1 : a > b ? 1 : 0)

/** What has no value comes last in either direction. */
const inOrder = (rows: readonly CertificateRow[], { column, descending }: CertificateSort): CertificateRow[] => {
  // Times as texts of one length: everything is compared as text then.
  const keyOf = (one: CertificateRow) => {
    const value = one[column]
    return value instanceof Date ? String(value.getTime()).padStart(20) : value
  }
  const sign = descending ? -1 : 1
  return rows.toSorted((a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)]
    if (left === right) return 0
    if (left === null || right === null) return left === null ? 1 : -1
    return sign * compare(left, right)
  })
}

onEachDialect("a list of certificates", (openDb, dialect) => {
  test("has the rows of its filter in its order, all its pages together and one by one, and their number", async () => {
    const db = await openDb()
    const store = certificateStore(db)
    await insertAgent(db, { id: "agent-1" })
    await insertTarget(db, { id: "tgt-1", agentId: "agent-1" })
    const rows: CertificateRow[] = []
    for (const given of fc.sample(row, 60)) rows.push(await insertCertificate(db, given))
    const served = new Set(rows.filter((_, i) => i % 3 === 0).map((one) => one.id))
    for (const id of served) await mapTarget(db, id, "tgt-1")

    const property = fc.asyncProperty(filter, sort, fc.integer({ min: 1, max: 70 }), async (asked, by, size) => {
      const expected = rows.filter((one) => isIn(one, served, asked))
      expect(await store.total(asked)).toBe(expected.length)
      const paged: CertificateRow[] = []
      for (let offset = 0; offset < expected.length + size; offset += size) {
        const page = await store.page(asked, by, { limit: size, offset })
        expect(page.total).toBe(expected.length)
        paged.push(...page.rows)
      }
      const keys = (list: readonly CertificateRow[]) => list.map((one) => one[by.column])
      expect(keys(paged)).toEqual(keys(inOrder(expected, by)))
      expect(paged.map((one) => one.id).sort()).toEqual(expected.map((one) => one.id).sort())

      const walked: CertificateRow[] = []
      for (let after: CertificateRow | null = null; ; ) {
        const { rows: page }: { rows: CertificateRow[] } = await store.page(asked, null, { limit: size, after })
        walked.push(...page)
        after = page.at(-1) ?? null
        if (page.length < size) break
      }
      const newestFirst = expected.toSorted(
        (a, b) => compare(b.createdAt.getTime(), a.createdAt.getTime()) || compare(b.id, a.id),
      )
      expect(walked.map((one) => one.id)).toEqual(newestFirst.map((one) => one.id))
    })
    await fc.assert(property, { numRuns: dialect === "sqlite" ? 150 : 60 })
  }, 120_000)
})
