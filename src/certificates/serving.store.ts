/** Which targets a certificate goes to, and which agents serve them. */
import { and, asc, eq, isNull, sql } from "drizzle-orm"
import { isMember } from "../agent-groups/group-membership"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot } from "../db/hot"
import type { Place } from "../rollouts/rollout.service"

/** A target that a certificate goes to, with the agent that serves it. */
export interface ServedPlace extends Place {
  readonly targetType: string
}

export const servingStore = ({ t, read, dialect }: Db) => {
  const inFixedOrder = [asc(t.deploymentTargets.createdAt), asc(t.deploymentTargets.id)] as const
  const ofPlace = {
    certificateId: t.certificateTargets.certificateId,
    targetId: t.deploymentTargets.id,
    targetName: t.deploymentTargets.name,
    targetType: t.deploymentTargets.type,
    windows: t.deploymentTargets.deploymentWindows,
    enabled: t.deploymentTargets.enabled,
    targetRetiredAt: t.deploymentTargets.retiredAt,
    agent: {
      id: t.agents.id,
      os: t.agents.os,
      architecture: t.agents.architecture,
      version: t.agents.version,
      ipAddress: t.agents.ipAddress,
      status: t.agents.status,
      retiredAt: t.agents.retiredAt,
    },
  }
  // Several times in each renewal.
  const placesOfOne = hot("places_of_certificate", (query: Query) =>
    query
      .select({
        ...ofPlace,
        rollout: t.renewalPolicies.rollout,
        group: t.agentGroups,
        explicit: t.agentGroupMembers.membershipType,
      })
      .from(t.certificateTargets)
      .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
      .innerJoin(t.agents, eq(t.agents.id, t.deploymentTargets.agentId))
      .innerJoin(t.certificates, eq(t.certificates.id, t.certificateTargets.certificateId))
      .leftJoin(t.renewalPolicies, eq(t.renewalPolicies.id, t.certificates.renewalPolicyId))
      .leftJoin(t.agentGroups, eq(t.agentGroups.id, t.renewalPolicies.agentGroupId))
      .leftJoin(
        t.agentGroupMembers,
        and(eq(t.agentGroupMembers.agentGroupId, t.agentGroups.id), eq(t.agentGroupMembers.agentId, t.agents.id)),
      )
      // Nothing else narrows it down here: given a choice, SQLite begins with all targets that are enabled.
      .where(eq(t.certificateTargets.certificateId, sql.placeholder("id")))
      .orderBy(...inFixedOrder),
  )
  // Of many certificates, with what their few policies say read apart: PostgreSQL takes as long to plan seven tables as to read them.
  const placesOfGiven = hot(null, (query: Query) =>
    query
      .select({ ...ofPlace, policyId: t.certificates.renewalPolicyId })
      .from(t.certificateTargets)
      .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
      .innerJoin(t.agents, eq(t.agents.id, t.deploymentTargets.agentId))
      .innerJoin(t.certificates, eq(t.certificates.id, t.certificateTargets.certificateId))
      .where(inGiven(dialect, t.certificateTargets.certificateId, "ids"))
      .orderBy(...inFixedOrder),
  )
  const rulesGiven = hot("rollout_rules_given", (query: Query) =>
    query
      .select({ id: t.renewalPolicies.id, rollout: t.renewalPolicies.rollout, group: t.agentGroups })
      .from(t.renewalPolicies)
      .leftJoin(t.agentGroups, eq(t.agentGroups.id, t.renewalPolicies.agentGroupId))
      .where(inGiven(dialect, t.renewalPolicies.id, "ids")),
  )
  const membersGiven = hot(null, (query: Query) =>
    query
      .select()
      .from(t.agentGroupMembers)
      .where(
        and(
          inGiven(dialect, t.agentGroupMembers.agentGroupId, "groupIds"),
          inGiven(dialect, t.agentGroupMembers.agentId, "agentIds"),
        ),
      ),
  )

  const placesOfMany = async (query: Query | Tx, certificateIds: readonly string[]) => {
    const rows = await placesOfGiven(query, { ids: idList(certificateIds) })
    const policyIds = new Set(rows.map((row) => row.policyId))
    const rules = new Map((await rulesGiven(query, { ids: idList([...policyIds]) })).map((row) => [row.id, row]))
    const groupIds = new Set([...rules.values()].flatMap(({ group }) => group?.id ?? []))
    const members =
      groupIds.size === 0
        ? []
        : await membersGiven(query, {
            groupIds: idList([...groupIds]),
            agentIds: idList([...new Set(rows.map((row) => row.agent.id))]),
          })
    const explicit = new Map(members.map((row) => [`${row.agentGroupId} ${row.agentId}`, row.membershipType]))
    return rows.map(({ policyId, ...row }) => {
      const { rollout = null, group = null } = rules.get(policyId) ?? {}
      return { ...row, rollout, group, explicit: explicit.get(`${group?.id} ${row.agent.id}`) ?? null }
    })
  }

  const mappedTo = hot("certificate_mapped_to_agent", (query: Query) =>
    query
      .select({ id: t.deploymentTargets.id })
      .from(t.certificateTargets)
      .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
      .where(
        and(
          eq(t.certificateTargets.certificateId, sql.placeholder("certificateId")),
          eq(t.deploymentTargets.agentId, sql.placeholder("agentId")),
          isNull(t.deploymentTargets.retiredAt),
        ),
      )
      .limit(1),
  )

  const mappedAgentsOfGiven = hot(null, (query: Query) =>
    query
      .select({ certificateId: t.certificateTargets.certificateId, agentId: t.deploymentTargets.agentId })
      .from(t.certificateTargets)
      .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
      .where(and(inGiven(dialect, t.certificateTargets.certificateId, "ids"), isNull(t.deploymentTargets.retiredAt))),
  )

  return {
    /**
     * Enabled targets that are not retired, of agents that are not retired and belong to the group of the certificate's renewal
     * policy where it names one; in a fixed order.
     */
    async places(certificateId: string, query: Query | Tx = read): Promise<ServedPlace[]> {
      return (await this.placesOf([certificateId], query)).get(certificateId) ?? []
    },

    /** `places` of several certificates; those that go nowhere are left out. */
    async placesOf(certificateIds: readonly string[], query: Query | Tx = read): Promise<Map<string, ServedPlace[]>> {
      const [only] = certificateIds
      const rows =
        certificateIds.length === 1 ? await placesOfOne(query, { id: only }) : await placesOfMany(query, certificateIds)
      const places = new Map<string, ServedPlace[]>()
      for (const { certificateId, agent, group, explicit, rollout, ...target } of rows) {
        if (!target.enabled || target.targetRetiredAt !== null || agent.retiredAt !== null) continue
        if (group !== null && !isMember(agent, group, explicit)) continue
        const own = places.get(certificateId) ?? []
        own.push({
          targetId: target.targetId,
          targetName: target.targetName,
          targetType: target.targetType,
          windows: target.windows,
          agentId: agent.id,
          isAgentOnline: agent.status === "Online",
          isOneFirst: rollout !== "all_at_once",
        })
        places.set(certificateId, own)
      }
      return places
    },

    /** Mapped targets of any state, for showing. */
    mappedTargets: (certificateId: string) =>
      read
        .select({ target: t.deploymentTargets })
        .from(t.certificateTargets)
        .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
        .where(eq(t.certificateTargets.certificateId, certificateId))
        .orderBy(asc(t.deploymentTargets.createdAt), asc(t.deploymentTargets.id)),

    async replace(tx: Tx, certificateId: string, targetIds: readonly string[]): Promise<void> {
      await tx.delete(t.certificateTargets).where(eq(t.certificateTargets.certificateId, certificateId))
      if (targetIds.length > 0) {
        await tx.insert(t.certificateTargets).values(targetIds.map((targetId) => ({ certificateId, targetId })))
      }
    },

    /** Whether one of the agent's targets is mapped: what entitles it to the certificate. */
    async isMapped(certificateId: string, agentId: string, query: Query | Tx = read): Promise<boolean> {
      return (await mappedTo(query, { certificateId, agentId })).length > 0
    },

    /** The agents for whom `isMapped` holds, by certificate. */
    async mappedAgents(certificateIds: readonly string[], query: Query | Tx = read): Promise<Map<string, Set<string>>> {
      const mapped = new Map<string, Set<string>>()
      for (const { certificateId, agentId } of await mappedAgentsOfGiven(query, { ids: idList(certificateIds) })) {
        mapped.set(certificateId, (mapped.get(certificateId) ?? new Set()).add(agentId))
      }
      return mapped
    },

    async certificatesOfAgent(tx: Tx, agentId: string): Promise<string[]> {
      const rows = await tx
        .selectDistinct({ id: t.certificateTargets.certificateId })
        .from(t.certificateTargets)
        .innerJoin(t.deploymentTargets, eq(t.deploymentTargets.id, t.certificateTargets.targetId))
        .where(eq(t.deploymentTargets.agentId, agentId))
        .orderBy(asc(t.certificateTargets.certificateId))
      return rows.map((row) => row.id)
    },
  }
}

export type ServingStore = ReturnType<typeof servingStore>
