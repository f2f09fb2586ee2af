/** SQL of the digest: what expires soon, what failed lately, who is told, and when that was last. Demo rows are left out. */
import { and, asc, desc, eq, gte, inArray, lt, notInArray, sql } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { unindexed } from "../db/unindexed"

/** Name of the setting that says when the last digest was due. */
const settingName = "digest.last_due_at"

export const digestStore = ({ t, read }: Db) => {
  const { certificates, owners, jobs, settings } = t
  const isOurs = sql`${certificates.tags} not like '%"demo":"true"%'`
  const isManaged = and(notInArray(certificates.status, ["Revoked", "Archived"]), isOurs)

  return {
    /** Soonest first; what has expired already is not among them. */
    expiring: (now: Date, until: Date, limit: number) =>
      read
        .select({
          id: certificates.id,
          commonName: certificates.commonName,
          ownerName: owners.name,
          expiresAt: certificates.expiresAt,
        })
        .from(certificates)
        .innerJoin(owners, eq(owners.id, certificates.ownerId))
        .where(and(isManaged, gte(certificates.expiresAt, now), lt(certificates.expiresAt, until)))
        .orderBy(asc(certificates.expiresAt), asc(certificates.id))
        .limit(limit),

    /** Newest first. */
    failedJobs: (since: Date, limit: number) =>
      read
        .select({
          id: jobs.id,
          type: jobs.type,
          certificateId: jobs.certificateId,
          commonName: certificates.commonName,
          lastError: jobs.lastError,
          completedAt: jobs.completedAt,
        })
        .from(jobs)
        .innerJoin(certificates, eq(certificates.id, jobs.certificateId))
        .where(and(sql`${unindexed(jobs.status)} = 'Failed'`, gte(jobs.completedAt, since), isOurs))
        .orderBy(desc(jobs.completedAt), desc(jobs.id))
        .limit(limit),

    /** E-mail addresses of the owners of certificates in use, each once, in a fixed order. */
    async ownerAddresses(): Promise<string[]> {
      const rows = await read
        .selectDistinct({ email: owners.email })
        .from(certificates)
        .innerJoin(owners, eq(owners.id, certificates.ownerId))
        .where(and(inArray(certificates.status, ["Active", "Expiring", "RenewalInProgress"]), isOurs))
      return rows
        .map(({ email }) => email)
        .filter((email) => email !== "")
        .sort()
    },

    /** null: never. */
    async lastDueAt(): Promise<Date | null> {
      const rows = await read.select({ value: settings.value }).from(settings).where(eq(settings.name, settingName))
      return rows[0] === undefined ? null : new Date(rows[0].value)
    },

    /** False when it was set by somebody else meanwhile. */
    async setLastDueAt(tx: Tx, from: Date | null, to: Date, now: Date): Promise<boolean> {
      const row = { name: settingName, value: to.toISOString(), updatedAt: now }
      const changed =
        from === null
          ? await tx.insert(settings).values(row).onConflictDoNothing().returning({ name: settings.name })
          : await tx
              .update(settings)
              .set(row)
              .where(and(eq(settings.name, settingName), eq(settings.value, from.toISOString())))
              .returning({ name: settings.name })
      return changed.length > 0
    },
  }
}

export type DigestStore = ReturnType<typeof digestStore>
