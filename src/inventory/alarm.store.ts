/** What is wrong or comes next, as rows: the details behind the dashboard's list of what needs attention. Reads only. */
import { and, asc, count, eq, gte, inArray, isNotNull, isNull, lt, min, notInArray, sql, sum } from "drizzle-orm"
import type { Db } from "../db/db"
import { unindexed } from "../db/unindexed"

export const alarmStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const {
    certificates,
    jobs,
    observations,
    deploymentTargets: targets,
    renewalPolicies,
    owners,
    certificateProfiles: profiles,
  } = t
  const isManaged = notInArray(certificates.status, ["Revoked", "Archived"])
  const reference = { id: certificates.id, commonName: certificates.commonName, expiresAt: certificates.expiresAt }

  return {
    /** Lapsed and still managed, latest first: what broke just now is what somebody can still save. */
    expired: (now: Date, limit: number) =>
      read
        .select({ ...reference, source: certificates.source, autoRenew: renewalPolicies.autoRenew })
        .from(certificates)
        .innerJoin(renewalPolicies, eq(renewalPolicies.id, certificates.renewalPolicyId))
        .where(and(isManaged, lt(certificates.expiresAt, now)))
        .orderBy(sql`${certificates.expiresAt} desc`, asc(certificates.id))
        .limit(limit),

    /** CAs to which hardly any call succeeds, longest first. */
    degradedIssuers: (limit: number) =>
      read
        .select({
          id: t.issuers.id,
          name: t.issuers.name,
          since: t.issuers.degradedSince,
          reason: t.issuers.degradedReason,
        })
        .from(t.issuers)
        .where(and(isNotNull(t.issuers.degradedSince), eq(t.issuers.enabled, true)))
        .orderBy(asc(t.issuers.degradedSince), asc(t.issuers.id))
        .limit(limit),

    /** The last word about a target was a failed deployment that is not tried again. */
    failedDeployments: (limit: number) =>
      read
        .select({
          ...reference,
          targetId: targets.id,
          targetName: targets.name,
          jobId: jobs.id,
          lastError: jobs.lastError,
        })
        .from(jobs)
        .innerJoin(certificates, eq(certificates.id, jobs.certificateId))
        .innerJoin(targets, eq(targets.id, jobs.targetId))
        .where(
          and(
            eq(jobs.type, "Deployment"),
            eq(jobs.status, "Failed"),
            sql`${jobs.attempts} >= ${jobs.maxAttempts}`,
            isManaged,
            isNull(targets.retiredAt),
            isNotNull(certificates.expiresAt),
            sql`not exists (select 1 from jobs newer where newer.certificate_id = ${jobs.certificateId}
              and newer.target_id = ${jobs.targetId} and newer.type = 'Deployment'
              and (newer.created_at, newer.id) > (${jobs.createdAt}, ${jobs.id}))`,
          ),
        )
        .orderBy(asc(certificates.expiresAt), asc(jobs.id))
        .limit(limit),

    /** Places that lately served a certificate which is no version of the one they should serve. */
    mismatches: (since: Date, limit: number) =>
      read
        .select({
          ...reference,
          targetId: targets.id,
          targetName: targets.name,
          observedAt: observations.observedAt,
        })
        .from(observations)
        .innerJoin(certificates, eq(certificates.id, observations.certificateId))
        .innerJoin(targets, eq(targets.id, observations.targetId))
        .where(
          and(
            eq(observations.kind, "served"),
            eq(observations.ok, false),
            sql`${observations.fingerprint} <> ''`,
            gte(observations.observedAt, since),
            isManaged,
            isNull(targets.retiredAt),
            isNotNull(certificates.expiresAt),
            sql`not exists (select 1 from observations newer where newer.certificate_id = ${observations.certificateId}
              and newer.target_id = ${observations.targetId} and newer.kind = 'served'
              and (newer.observed_at, newer.id) > (${observations.observedAt}, ${observations.id}))`,
            sql`not exists (select 1 from certificate_versions v where v.certificate_id = ${observations.certificateId}
              and v.fingerprint_sha256 = ${observations.fingerprint})`,
          ),
        )
        .orderBy(asc(observations.observedAt), asc(observations.id))
        .limit(limit),

    /** What waits for somebody's yes, since when, and when the first certificate lapses over it. */
    async approvals(): Promise<{ count: number; oldestAt: Date | null; firstExpiresAt: Date | null }> {
      const [row] = await read
        .select({ count: count(), oldestAt: min(jobs.createdAt), firstExpiresAt: min(certificates.expiresAt) })
        .from(jobs)
        .leftJoin(certificates, eq(certificates.id, jobs.certificateId))
        .where(eq(jobs.status, "AwaitingApproval"))
      return row ?? { count: 0, oldestAt: null, firstExpiresAt: null }
    },

    /** Failed attempts since each certificate's newest version. */
    failedAttempts: async (certificateIds: readonly string[]) =>
      certificateIds.length === 0
        ? []
        : read
            .select({ certificateId: jobs.certificateId, attempts: sum(jobs.attempts).mapWith(Number) })
            .from(jobs)
            .where(
              and(
                inArray(jobs.certificateId, [...certificateIds]),
                inArray(jobs.type, ["Issuance", "Renewal"]),
                eq(jobs.status, "Failed"),
                sql`not exists (select 1 from certificate_versions v where v.certificate_id = ${jobs.certificateId}
                  and v.created_at > ${jobs.createdAt})`,
              ),
            )
            .groupBy(jobs.certificateId),

    /** The next renewal that happens by itself. */
    nextRenewal: (now: Date) =>
      read
        .select({ id: certificates.id, commonName: certificates.commonName, renewAt: certificates.renewAt })
        .from(certificates)
        .innerJoin(renewalPolicies, eq(renewalPolicies.id, certificates.renewalPolicyId))
        .where(
          and(
            gte(certificates.renewAt, now),
            // In the words of the index of renewal points.
            sql`${certificates.status} not in ('Failed', 'Revoked', 'Archived')`,
            inArray(unindexed(certificates.status), ["Active", "Expiring"]),
            notInArray(certificates.source, ["EST", "SCEP", "ACME"]),
            eq(renewalPolicies.autoRenew, true),
          ),
        )
        .orderBy(asc(certificates.renewAt), asc(certificates.id))
        .limit(1),

    /** What lapses next, soonest first. */
    expiringNext: (now: Date, limit: number) =>
      read
        .select({
          ...reference,
          status: certificates.status,
          renewAt: certificates.renewAt,
          source: certificates.source,
          renewalPolicyId: certificates.renewalPolicyId,
          certificateProfileId: certificates.certificateProfileId,
          autoRenew: renewalPolicies.autoRenew,
          requiresApproval: profiles.requiresApproval,
          // Not `exists`: PostgreSQL plans for all certificates, not for the few that are shown, and would hash every mapping.
          isServed: sql<boolean>`(select 1 from certificate_target_mappings m
            join deployment_targets d on d.id = m.target_id and d.retired_at is null
            join agents a on a.id = d.agent_id and a.retired_at is null
            where m.certificate_id = ${certificates.id} limit 1) is not null`.mapWith(Boolean),
          owner: owners.name,
        })
        .from(certificates)
        .innerJoin(renewalPolicies, eq(renewalPolicies.id, certificates.renewalPolicyId))
        .innerJoin(owners, eq(owners.id, certificates.ownerId))
        .leftJoin(profiles, eq(profiles.id, certificates.certificateProfileId))
        .where(and(isManaged, gte(certificates.expiresAt, now)))
        .orderBy(asc(certificates.expiresAt), asc(certificates.id))
        .limit(limit),
  }
}

export type AlarmStore = ReturnType<typeof alarmStore>
