/** SQL of what is revoked, as relying parties ask for it: by issuer for lists, by serial for OCSP. */
import { and, asc, eq, gt, gte, inArray, isNull, or, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db, Query } from "../db/db"
import { hot } from "../db/hot"

/** A place in the order in which revocations were stored. */
export interface RevocationMark {
  readonly createdAt: Date
  readonly id: string
}

/** The most spellings that a serial has. */
const mostSpellings = 3

export const revocationStatusStore = ({ t, read, dialect }: Pick<Db, "t" | "read" | "dialect">) => {
  const { certificateRevocations: revocations, certificateVersions: versions } = t

  // With every OCSP request: building a query takes ten times as long as running it.
  const places = Array.from({ length: mostSpellings }, (_, i) => sql.placeholder(`serial${i}`))
  const ofIssuer = sql.placeholder("issuerId")
  const revocationOf = hot("revocation_by_serial", (query: Query) =>
    query
      .select({ revokedAt: revocations.revokedAt, reason: revocations.reason })
      .from(revocations)
      .where(and(eq(revocations.issuerId, ofIssuer), inArray(revocations.serialNumber, places)))
      .limit(1),
  )
  const versionOf = hot("version_by_serial", (query: Query) =>
    query
      .select({ shortLived: versions.shortLived, pemChain: versions.pemChain })
      .from(versions)
      .where(and(eq(versions.issuerId, ofIssuer), inArray(versions.serialNumber, places)))
      .limit(1),
  )
  /** A time as a number: reading PostgreSQL's text of it takes longer than everything else that is done with a row. */
  const milliseconds = (column: SQLiteColumn) =>
    sql<number>`${dialect === "sqlite" ? column : sql`date_part('epoch', ${column}) * 1000`}`
  // A hundred times for a long list.
  const listedAfter = hot("listed_revocations", (query: Query) =>
    query
      .select({
        id: revocations.id,
        serial: revocations.serialNumber,
        reason: revocations.reason,
        revokedMs: milliseconds(revocations.revokedAt),
        createdMs: milliseconds(revocations.createdAt),
      })
      .from(revocations)
      .where(
        and(
          eq(revocations.issuerId, ofIssuer),
          sql`(${revocations.createdAt}, ${revocations.id}) > (${sql.placeholder("createdAt")}, ${sql.placeholder("id")})`,
          eq(revocations.shortLived, false),
          or(isNull(revocations.notAfter), gt(revocations.notAfter, sql`${sql.placeholder("expiredBefore")}`)),
        ),
      )
      .orderBy(asc(revocations.createdAt), asc(revocations.id))
      .limit(sql.placeholder("limit")),
  )
  const valuesOf = (issuerId: string, serials: readonly string[]) => ({
    issuerId,
    ...Object.fromEntries(places.map((_, i) => [`serial${i}`, serials[i] ?? serials[0]])),
  })

  return {
    /** Whether a page is read while the one before is worked on: by another process, PostgreSQL's. */
    readsBeside: dialect === "postgres",

    /**
     * Revocations of an issuer stored after `after`, oldest first, with times in milliseconds. Left out: short-lived certificates,
     * and those that expired before `expiredBefore`.
     */
    listed: (issuerId: string, after: RevocationMark, expiredBefore: Date, limit: number) =>
      listedAfter(read, {
        issuerId,
        createdAt: revocations.createdAt.mapToDriverValue(after.createdAt),
        id: after.id,
        expiredBefore: revocations.notAfter.mapToDriverValue(expiredBefore),
        limit,
      }),

    /** Whose revocations were stored since then, whatever the issuer. */
    storedSince: (since: Date, limit: number) =>
      read
        .select({ id: revocations.id, issuerId: revocations.issuerId, serial: revocations.serialNumber })
        .from(revocations)
        .where(gte(revocations.createdAt, since))
        .limit(limit),

    async existsSince(issuerId: string, since: Date): Promise<boolean> {
      const rows = await read
        .select({ id: revocations.id })
        .from(revocations)
        .where(and(eq(revocations.issuerId, issuerId), gte(revocations.createdAt, since)))
        .limit(1)
      return rows.length > 0
    },

    /** The revocation of a serial in any of its spellings, of which there are three at most. */
    async revocation(issuerId: string, serials: readonly string[]) {
      return (await revocationOf(read, valuesOf(issuerId, serials)))[0] ?? null
    },

    /** What was issued under a serial. */
    async version(issuerId: string, serials: readonly string[]) {
      return (await versionOf(read, valuesOf(issuerId, serials)))[0] ?? null
    },
  }
}

export type RevocationStatusStore = ReturnType<typeof revocationStatusStore>
