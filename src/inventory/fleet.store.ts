/** What hangs on agents: their targets, the certificates that go there, what they found. Reads only. */
import { and, asc, count, countDistinct, eq, inArray, isNull, min, notInArray, sql } from "drizzle-orm"
import type { Db } from "../db/db"

/** Enough for a page; an agent with more targets is looked at through the API. */
const mostRows = 500

export const fleetStore = ({ t, read, scan }: Pick<Db, "t" | "read" | "scan">) => {
  const { certificates, certificateTargets: mappings, deploymentTargets: targets, discoveredCertificates } = t
  const isManaged = notInArray(certificates.status, ["Revoked", "Archived"])

  return {
    /** Managed certificates per agent, and when the first of them lapses. Agents without one are left out. */
    dependents: async (agentIds: readonly string[]) =>
      agentIds.length === 0
        ? []
        : // A page of agents may have tens of thousands of certificates.
          scan
            .select({
              agentId: targets.agentId,
              certificates: countDistinct(certificates.id),
              firstExpiresAt: min(certificates.expiresAt),
            })
            .from(targets)
            .innerJoin(mappings, eq(mappings.targetId, targets.id))
            .innerJoin(certificates, and(eq(certificates.id, mappings.certificateId), isManaged))
            .where(and(inArray(targets.agentId, [...agentIds]), isNull(targets.retiredAt)))
            .groupBy(targets.agentId),

    /** The certificates of each agent that lapse first, at most `perAgent` of each. */
    async firstToLapse(agentIds: readonly string[], perAgent: number) {
      if (agentIds.length === 0) return []
      const pairs = scan
        .selectDistinct({
          agentId: targets.agentId,
          id: certificates.id,
          commonName: certificates.commonName,
          expiresAt: certificates.expiresAt,
        })
        .from(targets)
        .innerJoin(mappings, eq(mappings.targetId, targets.id))
        .innerJoin(certificates, and(eq(certificates.id, mappings.certificateId), isManaged))
        .where(
          and(
            inArray(targets.agentId, [...agentIds]),
            isNull(targets.retiredAt),
            sql`${certificates.expiresAt} is not null`,
          ),
        )
        .as("pairs")
      const ranked = scan
        .select({
          agentId: pairs.agentId,
          id: pairs.id,
          commonName: pairs.commonName,
          expiresAt: pairs.expiresAt,
          rank: sql<number>`row_number() over (partition by ${pairs.agentId} order by ${pairs.expiresAt}, ${pairs.id})`
            .mapWith(Number)
            .as("rank"),
        })
        .from(pairs)
        .as("ranked")
      return scan
        .select({
          agentId: ranked.agentId,
          id: ranked.id,
          commonName: ranked.commonName,
          expiresAt: ranked.expiresAt,
        })
        .from(ranked)
        .where(sql`${ranked.rank} <= ${perAgent}`)
        .orderBy(asc(ranked.expiresAt), asc(ranked.id))
    },

    /** The targets of an agent that are not retired. */
    targets: (agentId: string) =>
      read
        .select({ id: targets.id, name: targets.name, type: targets.type })
        .from(targets)
        .where(and(eq(targets.agentId, agentId), isNull(targets.retiredAt)))
        .orderBy(asc(targets.name), asc(targets.id))
        .limit(mostRows),

    /** What goes to the targets of an agent, soonest expiry first. */
    certificates: (agentId: string) =>
      read
        .select({
          targetId: targets.id,
          id: certificates.id,
          commonName: certificates.commonName,
          status: certificates.status,
          expiresAt: certificates.expiresAt,
        })
        .from(targets)
        .innerJoin(mappings, eq(mappings.targetId, targets.id))
        .innerJoin(certificates, and(eq(certificates.id, mappings.certificateId), isManaged))
        .where(and(eq(targets.agentId, agentId), isNull(targets.retiredAt)))
        .orderBy(sql`${certificates.expiresAt} asc nulls last`, asc(certificates.id))
        .limit(mostRows),

    async discovered(agentId: string): Promise<number> {
      const [row] = await read
        .select({ n: count() })
        .from(discoveredCertificates)
        .where(eq(discoveredCertificates.agentId, agentId))
      return row?.n ?? 0
    },

    /** What retiring an agent would take along; counted as `AgentService.retire` counts it. */
    async dependencies(agentId: string) {
      const isOpen = inArray(t.jobs.status, ["Pending", "AwaitingCSR", "AwaitingApproval", "Running"])
      const [[held], [mapped], [open]] = await Promise.all([
        read
          .select({ n: count() })
          .from(targets)
          .where(and(eq(targets.agentId, agentId), isNull(targets.retiredAt))),
        read
          .select({ n: countDistinct(mappings.certificateId) })
          .from(targets)
          .innerJoin(mappings, eq(mappings.targetId, targets.id))
          .where(and(eq(targets.agentId, agentId), isNull(targets.retiredAt))),
        read
          .select({ n: count() })
          .from(t.jobs)
          .where(and(eq(t.jobs.agentId, agentId), isOpen)),
      ])
      return { activeTargets: held?.n ?? 0, activeCertificates: mapped?.n ?? 0, pendingJobs: open?.n ?? 0 }
    },
  }
}

export type FleetStore = ReturnType<typeof fleetStore>
