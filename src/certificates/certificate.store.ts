/** SQL of managed certificates. */
import {
  and,
  asc,
  count,
  desc,
  eq,
  exists,
  gt,
  gte,
  inArray,
  isNotNull,
  isNull,
  lt,
  lte,
  ne,
  or,
  type SQL,
  sql,
} from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"
import type { CertificateStatus } from "./certificate.machine"

export type CertificateRow = Tables["certificates"]["$inferSelect"]
export type NewCertificateRow = Tables["certificates"]["$inferInsert"]

export interface CertificateFilter {
  status?: CertificateStatus
  environment?: string
  ownerId?: string
  teamId?: string
  issuerId?: string
  profileId?: string
  agentId?: string
  expiresBefore?: Date
  expiresAfter?: Date
  createdAfter?: Date
  updatedAfter?: Date
  /** Text found in the name, the common name, a SAN or the id, ignoring case; or a whole serial or fingerprint. */
  search?: string
  /** The status as lists show it: Active is judged by the date, as the statistics do. */
  shownStatus?: { status: CertificateStatus; now: Date; expiringUntil: Date }
}

export interface CertificateSort {
  column: "expiresAt" | "createdAt" | "updatedAt" | "commonName" | "name" | "status" | "environment"
  descending: boolean
}

/** `%` and `_` of what was typed are ordinary characters. */
const likePattern = (text: string): string => `%${text.toLowerCase().replace(/[\\%_]/g, "\\$&")}%`

/** A serial or fingerprint, written plainly or with colons; null when the text is neither. */
const hexIn = (text: string): string | null => {
  const plain = text.toLowerCase().replace(/[:\s]/g, "")
  return /^[0-9a-f]{16,64}$/.test(plain) ? plain : null
}

export const certificateStore = ({ t, read }: Db) => {
  const certificates = t.certificates

  const shownAs = ({ status, now, expiringUntil }: NonNullable<CertificateFilter["shownStatus"]>): SQL | undefined => {
    const { status: stored, expiresAt } = certificates
    const isActive = eq(stored, "Active")
    if (status === "Active") return and(isActive, or(isNull(expiresAt), gte(expiresAt, expiringUntil)))
    if (status === "Expiring") {
      return or(eq(stored, status), and(isActive, gte(expiresAt, now), lt(expiresAt, expiringUntil)))
    }
    return status === "Expired" ? or(eq(stored, status), and(isActive, lt(expiresAt, now))) : eq(stored, status)
  }

  const filterOf = (filter: CertificateFilter): SQL | undefined => {
    const pattern = filter.search === undefined || filter.search === "" ? null : likePattern(filter.search)
    const hex = hexIn(filter.search ?? "")
    const versions = t.certificateVersions
    return and(
      filter.status === undefined ? undefined : eq(certificates.status, filter.status),
      filter.shownStatus === undefined ? undefined : shownAs(filter.shownStatus),
      filter.environment === undefined ? undefined : eq(certificates.environment, filter.environment),
      filter.ownerId === undefined ? undefined : eq(certificates.ownerId, filter.ownerId),
      filter.teamId === undefined ? undefined : eq(certificates.teamId, filter.teamId),
      filter.issuerId === undefined ? undefined : eq(certificates.issuerId, filter.issuerId),
      filter.profileId === undefined ? undefined : eq(certificates.certificateProfileId, filter.profileId),
      filter.expiresBefore === undefined ? undefined : lt(certificates.expiresAt, filter.expiresBefore),
      filter.expiresAfter === undefined ? undefined : gt(certificates.expiresAt, filter.expiresAfter),
      filter.createdAfter === undefined ? undefined : gt(certificates.createdAt, filter.createdAfter),
      filter.updatedAfter === undefined ? undefined : gt(certificates.updatedAt, filter.updatedAfter),
      filter.agentId === undefined
        ? undefined
        : exists(
            read
              .select({ one: sql`1` })
              .from(t.certificateTargets)
              .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
              .where(
                and(
                  eq(t.certificateTargets.certificateId, certificates.id),
                  eq(t.deploymentTargets.agentId, filter.agentId),
                ),
              ),
          ),
      pattern === null
        ? undefined
        : or(
            ...[certificates.name, certificates.commonName, certificates.sans, certificates.id].map(
              (column) => sql`lower(${column}) like ${pattern} escape '\\'`,
            ),
            hex === null
              ? undefined
              : inArray(
                  certificates.id,
                  read
                    .select({ id: versions.certificateId })
                    .from(versions)
                    .where(or(eq(versions.fingerprintSha256, hex), eq(versions.serialNumber, hex))),
                ),
          ),
    )
  }

  const orderOf = (sort: CertificateSort | null): SQL[] => {
    if (sort === null) return [asc(certificates.createdAt), asc(certificates.id)]
    const column = certificates[sort.column]
    // The dialects put NULL at different ends: never issued comes last either way.
    const direction = sort.descending ? sql`${column} desc nulls last` : sql`${column} asc nulls last`
    return [direction, sort.descending ? desc(certificates.id) : asc(certificates.id)]
  }

  return {
    async get(id: string, query: Query | Tx = read): Promise<CertificateRow | null> {
      return (await query.select().from(certificates).where(eq(certificates.id, id)))[0] ?? null
    },

    /** Reads the row and holds it until the transaction ends: whatever changes a certificate's jobs or versions starts here. */
    async lock(tx: Tx, id: string): Promise<CertificateRow | null> {
      return (await forUpdate(tx.select().from(certificates).where(eq(certificates.id, id))))[0] ?? null
    },

    /** Locks several in the one order that everybody uses, so that two such transactions cannot wait for each other. */
    async lockAll(tx: Tx, ids: readonly string[]): Promise<void> {
      if (ids.length === 0) return
      const rows = tx
        .select({ id: certificates.id })
        .from(certificates)
        .where(inArray(certificates.id, [...ids]))
      await forUpdate(rows.orderBy(asc(certificates.id)))
    },

    list: (filter: CertificateFilter, sort: CertificateSort | null, limit: number, offset: number) =>
      read
        .select()
        .from(certificates)
        .where(filterOf(filter))
        .orderBy(...orderOf(sort))
        .limit(limit)
        .offset(offset),

    /** Newest first, from after a row on. */
    listAfter: (filter: CertificateFilter, after: { createdAt: Date; id: string } | null, limit: number) =>
      read
        .select()
        .from(certificates)
        .where(
          and(
            filterOf(filter),
            after === null
              ? undefined
              : sql`(${certificates.createdAt}, ${certificates.id}) < (${sql.param(after.createdAt, certificates.createdAt)}, ${after.id})`,
          ),
        )
        .orderBy(desc(certificates.createdAt), desc(certificates.id))
        .limit(limit),

    async total(filter: CertificateFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(certificates).where(filterOf(filter))
      return row?.n ?? 0
    },

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: NewCertificateRow): Promise<CertificateRow | null> {
      return (await tx.insert(certificates).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    async patch(tx: Tx, id: string, set: Partial<Omit<NewCertificateRow, "status">>): Promise<CertificateRow | null> {
      return (await tx.update(certificates).set(set).where(eq(certificates.id, id)).returning())[0] ?? null
    },

    /** False when the status is no longer `from`. */
    async setStatus(
      tx: Tx,
      id: string,
      from: CertificateStatus,
      to: CertificateStatus,
      set: Partial<NewCertificateRow> = {},
    ): Promise<boolean> {
      const changed = await tx
        .update(certificates)
        .set({ ...set, status: to })
        .where(and(eq(certificates.id, id), eq(certificates.status, from)))
        .returning({ id: certificates.id })
      return changed.length > 0
    },

    async isNameTaken(tx: Tx, name: string, exceptId: string): Promise<boolean> {
      const rows = await tx
        .select({ id: certificates.id })
        .from(certificates)
        .where(and(eq(certificates.name, name), ne(certificates.id, exceptId)))
        .limit(1)
      return rows.length > 0
    },

    /** Those the renewal check looks at: due, or near enough to their expiry that their state may change; soonest first. */
    toCheck: (now: Date, expiringBefore: Date, after: { expiresAt: Date; id: string } | null, limit: number) =>
      read
        .select({ id: certificates.id, expiresAt: certificates.expiresAt })
        .from(certificates)
        .where(
          and(
            inArray(certificates.status, ["Pending", "Active", "Expiring", "Expired", "RenewalInProgress"]),
            isNotNull(certificates.expiresAt),
            or(lte(certificates.renewAt, now), lte(certificates.expiresAt, expiringBefore)),
            after === null
              ? undefined
              : sql`(${certificates.expiresAt}, ${certificates.id}) > (${sql.param(after.expiresAt, certificates.expiresAt)}, ${after.id})`,
          ),
        )
        .orderBy(asc(certificates.expiresAt), asc(certificates.id))
        .limit(limit),

    /** Certificates said to be renewing although nothing of them is under way. */
    idleRenewals: (limit: number) =>
      read
        .select({ id: certificates.id })
        .from(certificates)
        .where(
          and(
            eq(certificates.status, "RenewalInProgress"),
            sql`not exists (select 1 from jobs j where j.certificate_id = ${certificates.id} and j.type in ('Issuance', 'Renewal')
              and (j.status in ('Pending', 'AwaitingCSR', 'Running') or (j.status = 'Failed' and j.attempts < j.max_attempts)))`,
          ),
        )
        .orderBy(asc(certificates.id))
        .limit(limit),

    ofPolicy: (tx: Tx, policyId: string, afterId: string, limit: number) =>
      tx
        .select({ id: certificates.id })
        .from(certificates)
        .where(and(eq(certificates.renewalPolicyId, policyId), gt(certificates.id, afterId)))
        .orderBy(asc(certificates.id))
        .limit(limit),

    /** The largest policy window and alert threshold, in days: how far ahead the renewal check must look. */
    async farthestWindowDays(): Promise<number> {
      const rows = await read
        .select({
          window: t.renewalPolicies.renewalWindowDays,
          thresholds: t.renewalPolicies.alertThresholdsDays,
        })
        .from(t.renewalPolicies)
      return Math.max(0, ...rows.flatMap(({ window, thresholds }) => [window, ...thresholds]))
    },

    /** Which of the referenced rows exist, so that an error can name the field. */
    async references(
      tx: Tx,
      ids: { ownerId?: string; teamId?: string; issuerId?: string; renewalPolicyId?: string; profileId?: string },
    ) {
      const has = async (
        table:
          | typeof t.owners
          | typeof t.teams
          | typeof t.issuers
          | typeof t.renewalPolicies
          | typeof t.certificateProfiles,
        id: string | undefined,
      ) =>
        id === undefined || (await tx.select({ id: table.id }).from(table).where(eq(table.id, id)).limit(1)).length > 0
      return {
        owner: await has(t.owners, ids.ownerId),
        team: await has(t.teams, ids.teamId),
        issuer: await has(t.issuers, ids.issuerId),
        renewalPolicy: await has(t.renewalPolicies, ids.renewalPolicyId),
        profile: await has(t.certificateProfiles, ids.profileId),
      }
    },

    async unknownTargets(tx: Tx, targetIds: readonly string[]): Promise<string[]> {
      if (targetIds.length === 0) return []
      const rows = await tx
        .select({ id: t.deploymentTargets.id })
        .from(t.deploymentTargets)
        .where(inArray(t.deploymentTargets.id, [...targetIds]))
      const known = new Set(rows.map((row) => row.id))
      return targetIds.filter((id) => !known.has(id))
    },

    /** The rules a certificate lives by, in one read. */
    async rules(query: Query | Tx, { renewalPolicyId, certificateProfileId }: CertificateRow) {
      const [policy] = await query.select().from(t.renewalPolicies).where(eq(t.renewalPolicies.id, renewalPolicyId))
      const [profile] =
        certificateProfileId === null
          ? []
          : await query.select().from(t.certificateProfiles).where(eq(t.certificateProfiles.id, certificateProfileId))
      return { policy: policy ?? null, profile: profile ?? null }
    },
  }
}

export type CertificateStore = ReturnType<typeof certificateStore>
