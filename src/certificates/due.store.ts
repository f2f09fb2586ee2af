/** SQL of the renewal check: which certificates it looks at, and what it has to know of many of them at once. */
import { and, asc, eq, gt, inArray, lt, lte, type SQL, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot } from "../db/hot"
import { inPassing } from "../db/unindexed"
import { issuingTypes, openStatuses } from "../jobs/job.machine"
import type { JobRow } from "../jobs/job.store"
import type { CertificateRow } from "./certificate.store"

/** As much of a certificate as tells that nothing is to be done for it. */
export type Candidate = Pick<CertificateRow, "id" | "status" | "expiresAt" | "renewAt" | "renewalPolicyId">

export type DueCandidate = Pick<CertificateRow, "id" | "status" | "expiresAt" | "renewAt">

/** A place in an order of times and ids; null is before the first. */
export type Position = { readonly time: Date; readonly id: string } | null

export interface Piece {
  readonly until: Date
  readonly end: Position
  readonly now: Date
  /** Ids of the policies that renew by themselves. */
  readonly automatic: readonly string[]
}

/** As much of an issuing job as tells whether another one may begin. */
export type IssuingJob = Pick<
  JobRow,
  "certificateId" | "agentId" | "status" | "attempts" | "maxAttempts" | "completedAt"
>

type Rules = { readonly policy: PolicyRow | null; readonly profile: ProfileRow | null }
export type PolicyRow = Db["t"]["renewalPolicies"]["$inferSelect"]
type ProfileRow = Db["t"]["certificateProfiles"]["$inferSelect"]

export const dueStore = ({ t, read, dialect }: Db) => {
  const { certificates, jobs } = t
  const { id, expiresAt, renewAt } = certificates
  const columns = { id, status: certificates.status, expiresAt, renewAt, renewalPolicyId: certificates.renewalPolicyId }
  /** In the words of the indexes that serve these queries: a database uses a partial index only where it recognises them. */
  const isManaged = sql`${certificates.status} not in ('Failed', 'Revoked', 'Archived')`
  const after = (column: typeof expiresAt, last: Position): SQL | undefined =>
    last === null ? undefined : sql`(${column}, ${id}) > (${sql.param(last.time, column)}, ${last.id})`

  // With every batch, twice in most.
  const rowsOfGiven = hot(null, (query: Query) =>
    query
      .select()
      .from(certificates)
      .where(inGiven(dialect, certificates.id, "ids")),
  )
  const policiesGiven = hot("renewal_policies_given", (query: Query) =>
    query
      .select()
      .from(t.renewalPolicies)
      .where(inGiven(dialect, t.renewalPolicies.id, "ids")),
  )
  const profilesGiven = hot("certificate_profiles_given", (query: Query) =>
    query
      .select()
      .from(t.certificateProfiles)
      .where(inGiven(dialect, t.certificateProfiles.id, "ids")),
  )
  const issuingOfGiven = hot(null, (query: Query) =>
    query
      .select({
        certificateId: jobs.certificateId,
        agentId: jobs.agentId,
        status: jobs.status,
        attempts: jobs.attempts,
        maxAttempts: jobs.maxAttempts,
        completedAt: jobs.completedAt,
      })
      .from(jobs)
      .where(
        and(
          inGiven(dialect, jobs.certificateId, "ids"),
          inPassing(and(inArray(jobs.type, [...issuingTypes]), inArray(jobs.status, [...openStatuses, "Failed"]))),
        ),
      )
      .orderBy(sql`${jobs.completedAt} desc nulls last`),
  )

  return {
    /** Where a piece of those that expire until then ends which begins after `last` and has so many rows; null: they are fewer. */
    async pieceEnd(until: Date, last: Position, size: number): Promise<Position> {
      const [end] = await read
        .select({ id, time: expiresAt })
        .from(certificates)
        .where(and(isManaged, lte(expiresAt, until), after(expiresAt, last)))
        .orderBy(asc(expiresAt), asc(id))
        .limit(1)
        .offset(size - 1)
      return end === undefined || end.time === null ? null : { id: end.id, time: end.time }
    },

    /**
     * Those in a piece for which there may be something to do, soonest expiry first. Left out in the database, since they are nearly
     * all: what is Active and not due under a policy that renews by itself. `end` null: up to `until`.
     */
    expiring: (piece: Piece, last: Position, limit: number): Promise<Candidate[]> => {
      const { until, end, now, automatic } = piece
      const isCalm = sql`${certificates.status} = 'Active' and ${gt(renewAt, now)} and ${inArray(certificates.renewalPolicyId, [...automatic])}`
      return read
        .select(columns)
        .from(certificates)
        .where(
          and(
            isManaged,
            lte(expiresAt, until),
            after(expiresAt, last),
            end === null ? undefined : sql`(${expiresAt}, ${id}) <= (${sql.param(end.time, expiresAt)}, ${end.id})`,
            // A renewal point that is unknown makes this unknown too, which is not calm.
            automatic.length === 0 ? undefined : sql`coalesce(not (${isCalm}), true)`,
          ),
        )
        .orderBy(asc(expiresAt), asc(id))
        .limit(limit)
    },

    /** Those that are due, longest due first. */
    due: (now: Date, last: Position, limit: number): Promise<DueCandidate[]> =>
      read
        .select({ id, status: certificates.status, expiresAt, renewAt })
        .from(certificates)
        .where(and(isManaged, lte(renewAt, now), after(renewAt, last)))
        .orderBy(asc(renewAt), asc(id))
        .limit(limit),

    rows: (ids: readonly string[]): Promise<CertificateRow[]> => rowsOfGiven(read, { ids: idList(ids) }),

    policies: (): Promise<PolicyRow[]> => read.select().from(t.renewalPolicies),

    /** The rules that each of the certificates lives by. */
    async rulesOf(query: Query | Tx, rows: readonly CertificateRow[]): Promise<(row: CertificateRow) => Rules> {
      const policyIds = [...new Set(rows.map((row) => row.renewalPolicyId))]
      const profileIds = [...new Set(rows.flatMap((row) => row.certificateProfileId ?? []))]
      const policies = await policiesGiven(query, { ids: idList(policyIds) })
      const profiles = profileIds.length === 0 ? [] : await profilesGiven(query, { ids: idList(profileIds) })
      const policyOf = new Map(policies.map((row) => [row.id, row]))
      const profileOf = new Map(profiles.map((row) => [row.id, row]))
      return ({ renewalPolicyId, certificateProfileId }) => ({
        policy: policyOf.get(renewalPolicyId) ?? null,
        profile: profileOf.get(certificateProfileId ?? "") ?? null,
      })
    },

    /** Issuing jobs that are open or have failed, whether they will be retried or not; those that ended last come first. */
    issuingOf: (query: Query | Tx, certificateIds: readonly string[]): Promise<IssuingJob[]> =>
      issuingOfGiven(query, { ids: idList(certificateIds) }),

    /** Active or Expiring certificates of short-lived profiles that have expired. */
    expiredShortLived: (now: Date, limit: number): Promise<{ id: string }[]> =>
      read
        .select({ id })
        .from(certificates)
        .innerJoin(t.certificateProfiles, eq(t.certificateProfiles.id, certificates.certificateProfileId))
        .where(
          and(
            isManaged,
            inArray(certificates.status, ["Active", "Expiring"]),
            lte(expiresAt, now),
            eq(t.certificateProfiles.allowShortLived, true),
            sql`${t.certificateProfiles.maxTtlSeconds} > 0`,
            lt(t.certificateProfiles.maxTtlSeconds, 3600),
          ),
        )
        .orderBy(asc(expiresAt), asc(id))
        .limit(limit),
  }
}

export type DueStore = ReturnType<typeof dueStore>
