/** SQL of what is revoked, as relying parties ask for it: by issuer for lists, by serial for OCSP. */
import { and, asc, eq, gt, gte, inArray, isNull, or, sql } from "drizzle-orm"
import type { Db } from "../db/db"

/** A place in the order in which revocations were stored. */
export interface RevocationMark {
  readonly createdAt: Date
  readonly id: string
}

export const revocationStatusStore = ({ t, read }: Db) => {
  const { certificateRevocations: revocations, certificateVersions: versions } = t
  return {
    /**
     * Revocations of an issuer stored after `after`, oldest first. Left out: short-lived certificates, and those that
     * expired before `expiredBefore`.
     */
    listed: (issuerId: string, after: RevocationMark | null, expiredBefore: Date, limit: number) =>
      read
        .select({
          id: revocations.id,
          serial: revocations.serialNumber,
          reason: revocations.reason,
          revokedAt: revocations.revokedAt,
          createdAt: revocations.createdAt,
        })
        .from(revocations)
        .leftJoin(
          versions,
          and(eq(versions.issuerId, revocations.issuerId), eq(versions.serialNumber, revocations.serialNumber)),
        )
        .where(
          and(
            eq(revocations.issuerId, issuerId),
            or(isNull(versions.id), and(eq(versions.shortLived, false), gt(versions.notAfter, expiredBefore))),
            after === null
              ? undefined
              : sql`(${revocations.createdAt}, ${revocations.id}) > (${sql.param(after.createdAt, revocations.createdAt)}, ${after.id})`,
          ),
        )
        .orderBy(asc(revocations.createdAt), asc(revocations.id))
        .limit(limit),

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

    /** The revocation of a serial in any of its spellings. */
    async revocation(issuerId: string, serials: readonly string[]) {
      const rows = await read
        .select({ revokedAt: revocations.revokedAt, reason: revocations.reason })
        .from(revocations)
        .where(and(eq(revocations.issuerId, issuerId), inArray(revocations.serialNumber, [...serials])))
        .limit(1)
      return rows[0] ?? null
    },

    /** What was issued under a serial. */
    async version(issuerId: string, serials: readonly string[]) {
      const rows = await read
        .select({ shortLived: versions.shortLived, pemChain: versions.pemChain })
        .from(versions)
        .where(and(eq(versions.issuerId, issuerId), inArray(versions.serialNumber, [...serials])))
        .limit(1)
      return rows[0] ?? null
    },
  }
}

export type RevocationStatusStore = ReturnType<typeof revocationStatusStore>
