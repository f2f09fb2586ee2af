/** SQL of managed certificates. */
import { and, asc, eq, gt, inArray, isNull, ne, notInArray, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot, hotInsertIds, hotUpdate, hotUpdateCount } from "../db/hot"
import { forUpdate } from "../db/locking"
import { storedRow } from "../db/stored-row"
import type { Tables } from "../db/tables/tables"
import { unindexed } from "../db/unindexed"
import { updateEach } from "../db/update-each"
import type { CertificateStatus } from "./certificate.machine"
import { type CertificateFilter, certificateList } from "./certificate-list.store"

export type CertificateRow = Tables["certificates"]["$inferSelect"]
export type NewCertificateRow = Tables["certificates"]["$inferInsert"]

export const certificateStore = (db: Db) => {
  const { t, read } = db
  const certificates = t.certificates
  const { id } = certificates
  const { filterOf, ...lists } = certificateList(db)

  // Every step of a renewal begins with one of these.
  const byId = hot("certificate_by_id", (query: Query) =>
    query
      .select()
      .from(certificates)
      .where(eq(certificates.id, sql.placeholder("id"))),
  )
  const lockedById = hot("lock_certificate", (tx: Tx) =>
    forUpdate(
      tx
        .select()
        .from(certificates)
        .where(eq(certificates.id, sql.placeholder("id"))),
    ),
  )
  const lockedByIds = hot(null, (tx: Tx) =>
    forUpdate(
      tx
        .select()
        .from(certificates)
        .where(inGiven(db.dialect, certificates.id, "ids"))
        .orderBy(asc(certificates.id)),
    ),
  )
  const isGiven = eq(certificates.id, sql.placeholder("id"))
  const changeOne = hotUpdate("change_certificate", certificates, isGiven)
  const changeFrom = hotUpdateCount(
    "change_certificate_from",
    certificates,
    and(isGiven, eq(certificates.status, sql.placeholder("from"))),
    certificates.id,
  )
  const changeAllFrom = hotUpdateCount(
    null,
    certificates,
    and(
      inGiven(db.dialect, certificates.id, "ids"),
      sql`${unindexed(certificates.status)} = ${sql.placeholder("from")}`,
    ),
    certificates.id,
  )
  const setDatesOf = updateEach(certificates, { set: ["expiresAt", "renewAt"], seen: [] })
  const settleRows = updateEach(certificates, {
    set: ["status", "expiresAt", "renewAt", "lastRenewalAt", "updatedAt"],
    seen: ["status"],
  })
  const policyById = hot("renewal_policy_by_id", (query: Query) =>
    query
      .select()
      .from(t.renewalPolicies)
      .where(eq(t.renewalPolicies.id, sql.placeholder("id"))),
  )
  const profileById = hot("profile_by_id", (query: Query) =>
    query
      .select()
      .from(t.certificateProfiles)
      .where(eq(t.certificateProfiles.id, sql.placeholder("id"))),
  )
  const insertRows = hotInsertIds("insert_certificates", certificates, id)
  const asStored = storedRow(certificates)
  const isThere = (table: string, id: string) =>
    sql`exists (select 1 from ${sql.identifier(table)} where id = ${sql.placeholder(id)})`.mapWith(Boolean)
  // Five queries made of parts took longer than all else that changing a certificate does.
  const existing = hot("certificate_references", (query: Query) =>
    query
      .select({
        owner: isThere("owners", "ownerId"),
        team: isThere("teams", "teamId"),
        issuer: isThere("issuers", "issuerId"),
        renewalPolicy: isThere("renewal_policies", "renewalPolicyId"),
        profile: isThere("certificate_profiles", "profileId"),
      })
      .from(sql`(select 1) one`),
  )

  return {
    async get(id: string, query: Query | Tx = read): Promise<CertificateRow | null> {
      return (await byId(query, { id }))[0] ?? null
    },

    /** Reads the row and holds it until the transaction ends: whatever changes a certificate's jobs or versions starts here. */
    async lock(tx: Tx, id: string): Promise<CertificateRow | null> {
      return (await lockedById(tx, { id }))[0] ?? null
    },

    /** Locks several in the one order that everybody uses, so that two such transactions cannot wait for each other. */
    lockAll: async (tx: Tx, ids: readonly string[]): Promise<CertificateRow[]> =>
      ids.length === 0 ? [] : await lockedByIds(tx, { ids: idList(ids) }),

    /** One page of what a bulk operation is about, by id. */
    matching: (filter: CertificateFilter, afterId: string, limit: number) =>
      read
        .select({ id: certificates.id, status: certificates.status, source: certificates.source })
        .from(certificates)
        .where(and(filterOf(filter), gt(certificates.id, afterId)))
        .orderBy(asc(certificates.id))
        .limit(limit),

    ...lists,

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: NewCertificateRow): Promise<CertificateRow | null> {
      return (await insertRows(tx, [row])).length === 0 ? null : asStored(row)
    },

    async patch(tx: Tx, id: string, set: Partial<Omit<NewCertificateRow, "status">>): Promise<CertificateRow | null> {
      return (await changeOne(tx, set, { id }))[0] ?? null
    },

    /** False when the status is no longer `from`. */
    async setStatus(
      tx: Tx,
      id: string,
      from: CertificateStatus,
      to: CertificateStatus,
      set: Partial<NewCertificateRow> = {},
    ): Promise<boolean> {
      return (await changeFrom(tx, { ...set, status: to }, { id, from })) > 0
    },

    /** How many were changed: their status was still `from`. */
    setStatusOfAll: (
      tx: Tx,
      ids: readonly string[],
      from: CertificateStatus,
      to: CertificateStatus,
      set: Partial<NewCertificateRow> = {},
    ): Promise<number> => changeAllFrom(tx, { ...set, status: to }, { ids: idList(ids), from }),

    /** Status and dates of several, each its own; answers how many still had the status in which they were seen. */
    settleEach: settleRows,

    async setDates(
      tx: Tx,
      dates: readonly { readonly id: string; readonly expiresAt: Date | null; readonly renewAt: Date | null }[],
    ): Promise<void> {
      await setDatesOf(
        tx,
        dates.map(({ id, expiresAt, renewAt }) => ({ id, set: { expiresAt, renewAt }, seen: {} })),
      )
    },

    /** Certificates of one source with a common name, not revoked or archived; their other names are for the caller to compare. */
    enrolled: (
      tx: Tx,
      {
        source,
        issuerId,
        profileId,
        commonName,
      }: {
        source: string
        issuerId: string
        profileId: string | null
        commonName: string
      },
    ) =>
      tx
        .select({ id: certificates.id, sans: certificates.sans })
        .from(certificates)
        .where(
          and(
            eq(certificates.commonName, commonName),
            eq(certificates.source, source),
            eq(certificates.issuerId, issuerId),
            profileId === null
              ? isNull(certificates.certificateProfileId)
              : eq(certificates.certificateProfileId, profileId),
            notInArray(certificates.status, ["Revoked", "Archived"]),
          ),
        )
        .orderBy(asc(certificates.createdAt), asc(certificates.id)),

    async isNameTaken(tx: Tx, name: string, exceptId: string): Promise<boolean> {
      const rows = await tx
        .select({ id: certificates.id })
        .from(certificates)
        .where(and(eq(certificates.name, name), ne(certificates.id, exceptId)))
        .limit(1)
      return rows.length > 0
    },

    /** Certificates said to be renewing, in the order in which they were created; `isIdle`: nothing of them is under way. */
    renewing: (after: { createdAt: Date; id: string } | null, limit: number) =>
      read
        .select({
          id: certificates.id,
          createdAt: certificates.createdAt,
          // Not `exists`, for which PostgreSQL would read all jobs with each page, and hash them; and what is asked of a job is a
          // case, or it would look for it in the partial indexes as well, which are the longest where much is under way.
          isIdle: sql<boolean>`(select 1 from jobs j where j.certificate_id = managed_certificates.id
            and case when j.type in ('Issuance', 'Renewal') and (j.status in ('Pending', 'AwaitingCSR', 'Running')
              or (j.status = 'Failed' and j.attempts < j.max_attempts)) then 1 else 0 end = 1 limit 1) is null`.mapWith(
            Boolean,
          ),
        })
        .from(certificates)
        .where(
          and(
            eq(certificates.status, "RenewalInProgress"),
            after === null
              ? undefined
              : sql`(${certificates.createdAt}, ${certificates.id}) > (${sql.param(after.createdAt, certificates.createdAt)}, ${after.id})`,
          ),
        )
        .orderBy(asc(certificates.createdAt), asc(certificates.id))
        .limit(limit),

    ofPolicy: (tx: Tx, policyId: string, afterId: string, limit: number) =>
      tx
        .select({ id: certificates.id })
        .from(certificates)
        .where(and(eq(certificates.renewalPolicyId, policyId), gt(certificates.id, afterId)))
        .orderBy(asc(certificates.id))
        .limit(limit),

    /** Which of the referenced rows exist, so that an error can name the field. */
    async references(
      query: Query | Tx,
      ids: { ownerId?: string; teamId?: string; issuerId?: string; renewalPolicyId?: string; profileId?: string },
    ) {
      const { ownerId = null, teamId = null, issuerId = null, renewalPolicyId = null, profileId = null } = ids
      const [found] = await existing(query, { ownerId, teamId, issuerId, renewalPolicyId, profileId })
      return {
        owner: ids.ownerId === undefined || found?.owner === true,
        team: ids.teamId === undefined || found?.team === true,
        issuer: ids.issuerId === undefined || found?.issuer === true,
        renewalPolicy: ids.renewalPolicyId === undefined || found?.renewalPolicy === true,
        profile: ids.profileId === undefined || found?.profile === true,
      }
    },

    async unknownTargets(query: Query | Tx, targetIds: readonly string[]): Promise<string[]> {
      if (targetIds.length === 0) return []
      const rows = await query
        .select({ id: t.deploymentTargets.id })
        .from(t.deploymentTargets)
        .where(inArray(t.deploymentTargets.id, [...targetIds]))
      const known = new Set(rows.map((row) => row.id))
      return targetIds.filter((id) => !known.has(id))
    },

    /** The rules a certificate lives by, in one read. */
    async rules(query: Query | Tx, { renewalPolicyId, certificateProfileId }: CertificateRow) {
      const [policy] = await policyById(query, { id: renewalPolicyId })
      const [profile] = certificateProfileId === null ? [] : await profileById(query, { id: certificateProfileId })
      return { policy: policy ?? null, profile: profile ?? null }
    },
  }
}

export type CertificateStore = ReturnType<typeof certificateStore>
