/** Where certificates go and what was last sent there, for many certificates at once. Reads only. */
import { and, asc, desc, eq, inArray, isNotNull, sql } from "drizzle-orm"
import type { Db } from "../db/db"
import { unindexed } from "../db/unindexed"

export const placeStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const { certificateTargets, certificateVersions: versions, deploymentTargets: targets, agents, jobs } = t

  return {
    /** Every mapping of the certificates, retired targets and agents included. */
    mappings: async (certificateIds: readonly string[]) =>
      certificateIds.length === 0
        ? []
        : read
            .select({
              certificateId: certificateTargets.certificateId,
              targetId: targets.id,
              targetName: targets.name,
              targetType: targets.type,
              config: targets.config,
              enabled: targets.enabled,
              targetRetiredAt: targets.retiredAt,
              agentId: agents.id,
              agentName: agents.name,
              lastHeartbeatAt: agents.lastHeartbeatAt,
              agentRetiredAt: agents.retiredAt,
            })
            .from(certificateTargets)
            .innerJoin(targets, eq(targets.id, certificateTargets.targetId))
            .innerJoin(agents, eq(agents.id, targets.agentId))
            .where(inArray(certificateTargets.certificateId, [...certificateIds]))
            .orderBy(asc(targets.createdAt), asc(targets.id)),

    /** The newest version that each agent has of each certificate. */
    async currentVersions(certificateIds: readonly string[]) {
      if (certificateIds.length === 0) return []
      const ranked = read
        .select({
          id: versions.id,
          rank: sql<number>`row_number() over (partition by ${versions.certificateId}, ${versions.agentId}
            order by ${versions.createdAt} desc, ${versions.id} desc)`.as("rank"),
        })
        .from(versions)
        .where(and(inArray(versions.certificateId, [...certificateIds]), isNotNull(versions.agentId)))
        .as("ranked")
      return read
        .select({
          certificateId: versions.certificateId,
          agentId: versions.agentId,
          fingerprint: versions.fingerprintSha256,
        })
        .from(versions)
        .innerJoin(ranked, and(eq(ranked.id, versions.id), eq(ranked.rank, 1)))
    },

    /** Which of these fingerprints are versions of ours, and of which certificate. */
    versionsWith: async (fingerprints: readonly string[]) =>
      fingerprints.length === 0
        ? []
        : read
            .select({ certificateId: versions.certificateId, fingerprint: versions.fingerprintSha256 })
            .from(versions)
            .where(inArray(versions.fingerprintSha256, [...fingerprints])),

    /** The newest deployment to each target. */
    async newestDeployments(certificateIds: readonly string[]) {
      if (certificateIds.length === 0) return []
      const columns = {
        id: jobs.id,
        certificateId: jobs.certificateId,
        targetId: jobs.targetId,
        status: jobs.status,
        createdAt: jobs.createdAt,
        startedAt: jobs.startedAt,
        completedAt: jobs.completedAt,
      }
      const ranked = read
        .select({
          ...columns,
          rank: sql<number>`row_number() over (partition by ${jobs.certificateId}, ${jobs.targetId}
            order by ${jobs.createdAt} desc, ${jobs.id} desc)`.as("rank"),
        })
        .from(jobs)
        .where(
          and(
            inArray(jobs.certificateId, [...certificateIds]),
            eq(unindexed(jobs.type), "Deployment"),
            isNotNull(unindexed(jobs.targetId)),
          ),
        )
        .as("ranked")
      // Not joined with the jobs again: to have them in their order, SQLite would read all there are.
      return read
        .select({
          id: ranked.id,
          certificateId: ranked.certificateId,
          targetId: ranked.targetId,
          status: ranked.status,
          createdAt: ranked.createdAt,
          startedAt: ranked.startedAt,
          completedAt: ranked.completedAt,
        })
        .from(ranked)
        .where(eq(ranked.rank, 1))
        .orderBy(desc(ranked.createdAt))
    },
  }
}

export type PlaceStore = ReturnType<typeof placeStore>
