/** SQL of revocations: one row for each serial, which the revocation list and the OCSP answers are made from. */
import { and, desc, eq, inArray, notInArray, sql } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"
import { openStatuses } from "../jobs/job.machine"

export type RevocationRow = Tables["certificateRevocations"]["$inferSelect"]

/** What is revoked of a certificate. */
export interface CurrentVersion {
  readonly certificateId: string
  readonly serialNumber: string
  /** null: the certificate's. */
  readonly issuerId: string | null
  readonly notAfter: Date
  readonly shortLived: boolean
}

export const revocationStore = ({ t, read }: Db) => {
  const { certificates, certificateVersions: versions, certificateRevocations: revocations } = t

  return {
    /** The newest version of each agent that has one, and of none. */
    async currentVersions(tx: Tx, certificateIds: readonly string[]): Promise<CurrentVersion[]> {
      if (certificateIds.length === 0) return []
      const ranked = tx
        .select({
          certificateId: versions.certificateId,
          serialNumber: versions.serialNumber,
          issuerId: versions.issuerId,
          notAfter: versions.notAfter,
          shortLived: versions.shortLived,
          rank: sql<number>`row_number() over (partition by ${versions.certificateId}, coalesce(${versions.agentId}, '')
            order by ${desc(versions.createdAt)}, ${desc(versions.id)})`.as("rank"),
        })
        .from(versions)
        .where(inArray(versions.certificateId, [...certificateIds]))
        .as("ranked")
      return tx
        .select({
          certificateId: ranked.certificateId,
          serialNumber: ranked.serialNumber,
          issuerId: ranked.issuerId,
          notAfter: ranked.notAfter,
          shortLived: ranked.shortLived,
        })
        .from(ranked)
        .where(eq(ranked.rank, 1))
        .orderBy(ranked.certificateId, ranked.serialNumber)
    },

    /** The issuers of the certificates and of their versions. */
    async issuersOf(certificateIds: readonly string[]): Promise<string[]> {
      const ids = [...certificateIds]
      const own = await read
        .selectDistinct({ id: certificates.issuerId })
        .from(certificates)
        .where(inArray(certificates.id, ids))
      const earlier = await read
        .selectDistinct({ id: versions.issuerId })
        .from(versions)
        .where(inArray(versions.certificateId, ids))
      return [...new Set([...own, ...earlier].flatMap(({ id }) => id ?? []))]
    },

    async get(tx: Tx, id: string): Promise<RevocationRow | null> {
      return (await tx.select().from(revocations).where(eq(revocations.id, id)))[0] ?? null
    },

    /** Which of the certificates have jobs that are not over, or a roll-out under way. */
    async atWork(tx: Tx, certificateIds: readonly string[]): Promise<string[]> {
      const ids = [...certificateIds]
      if (ids.length === 0) return []
      const withJobs = await tx
        .selectDistinct({ id: t.jobs.certificateId })
        .from(t.jobs)
        .where(and(inArray(t.jobs.certificateId, ids), inArray(t.jobs.status, [...openStatuses])))
      const withRollouts = await tx
        .select({ id: t.rollouts.certificateId })
        .from(t.rollouts)
        .where(and(inArray(t.rollouts.certificateId, ids), eq(t.rollouts.state, "running")))
      return [...new Set([...withJobs, ...withRollouts].flatMap(({ id }) => id ?? []))].toSorted()
    },

    async setRevoked(tx: Tx, certificateIds: readonly string[], reason: string, now: Date): Promise<string[]> {
      if (certificateIds.length === 0) return []
      const changed = await tx
        .update(certificates)
        .set({ status: "Revoked", revokedAt: now, revocationReason: reason, updatedAt: now })
        .where(
          and(inArray(certificates.id, [...certificateIds]), notInArray(certificates.status, ["Revoked", "Archived"])),
        )
        .returning({ id: certificates.id })
      return changed.map(({ id }) => id)
    },

    /** Returns those that were not there yet: a serial is revoked once, and its first reason stays. */
    async insert(tx: Tx, rows: readonly RevocationRow[]): Promise<RevocationRow[]> {
      if (rows.length === 0) return []
      return tx
        .insert(revocations)
        .values([...rows])
        .onConflictDoNothing()
        .returning()
    },

    async markNotified(tx: Tx, id: string): Promise<void> {
      await tx.update(revocations).set({ issuerNotified: true }).where(eq(revocations.id, id))
    },

    /** A revocation with what a CA may need to find the certificate by; null when there is none. */
    async withVersion(id: string) {
      const [row] = await read
        .select({
          revocation: revocations,
          orderId: versions.orderId,
          pemChain: versions.pemChain,
          notAfter: versions.notAfter,
        })
        .from(revocations)
        .leftJoin(
          versions,
          and(
            eq(versions.certificateId, revocations.certificateId),
            eq(versions.serialNumber, revocations.serialNumber),
          ),
        )
        .where(eq(revocations.id, id))
        .orderBy(desc(versions.createdAt))
        .limit(1)
      return row ?? null
    },
  }
}

export type RevocationStore = ReturnType<typeof revocationStore>
