/** How much hangs on a row: the numbers that lists show beside names. Reads only, and for a whole page of rows at once. */
import { asc, count, eq, inArray, isNull } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db } from "../db/db"
import { rowCounts } from "../db/row-counts"

/** A select box with more entries than this helps nobody. */
const mostChoices = 1000

export const usageStore = ({ t, read, scan }: Pick<Db, "t" | "read" | "scan">) => {
  const { certificates, owners, renewalPolicies, policyRules, policyViolations } = t
  const { certificateTargets, agents, agentGroups } = t
  const counts = rowCounts({ t, read })

  /** Rows that refer to each of the ids by a column; those that nothing refers to are left out. */
  const per = async (column: SQLiteColumn, ids: readonly string[]): Promise<ReadonlyMap<string, number>> => {
    if (ids.length === 0) return new Map()
    // A single issuer may have a million.
    const rows = await scan
      .select({ id: column, n: count() })
      .from(column.table)
      .where(inArray(column, [...ids]))
      .groupBy(column)
    return new Map(rows.map(({ id, n }) => [String(id), n]))
  }

  return {
    certificatesOfOwners: (ids: readonly string[]) => per(certificates.ownerId, ids),
    certificatesOfTeams: (ids: readonly string[]) => per(certificates.teamId, ids),
    certificatesOfIssuers: (ids: readonly string[]) => per(certificates.issuerId, ids),
    certificatesOfProfiles: (ids: readonly string[]) => per(certificates.certificateProfileId, ids),
    certificatesOfRenewalPolicies: (ids: readonly string[]) => per(certificates.renewalPolicyId, ids),
    certificatesOfTargets: (ids: readonly string[]) => per(certificateTargets.targetId, ids),
    ownersOfTeams: (ids: readonly string[]) => per(owners.teamId, ids),
    renewalPoliciesOfGroups: (ids: readonly string[]) => per(renewalPolicies.agentGroupId, ids),
    violationsOfRules: (ids: readonly string[]) => per(policyViolations.ruleId, ids),

    /** How many rules there are of each severity, enabled and not. */
    ruleSeverities: () =>
      read
        .select({ severity: policyRules.severity, enabled: policyRules.enabled, n: count() })
        .from(policyRules)
        .groupBy(policyRules.severity, policyRules.enabled),

    deadNotifications: (): Promise<number> => counts.total("notifications", { status: "dead" }),

    /** The certificates that go to a target, by name. */
    certificatesOf: (targetId: string) =>
      read
        .select({
          id: certificates.id,
          commonName: certificates.commonName,
          status: certificates.status,
          expiresAt: certificates.expiresAt,
        })
        .from(certificateTargets)
        .innerJoin(certificates, eq(certificates.id, certificateTargets.certificateId))
        .where(eq(certificateTargets.targetId, targetId))
        .orderBy(asc(certificates.commonName), asc(certificates.id))
        .limit(mostChoices),

    /** Agents that can serve a target, by name. */
    agentChoices: () =>
      read
        .select({ id: agents.id, name: agents.name })
        .from(agents)
        .where(isNull(agents.retiredAt))
        .orderBy(asc(agents.name), asc(agents.id))
        .limit(mostChoices),

    groupChoices: () =>
      read
        .select({ id: agentGroups.id, name: agentGroups.name })
        .from(agentGroups)
        .orderBy(asc(agentGroups.name), asc(agentGroups.id))
        .limit(mostChoices),
  }
}

export type UsageStore = ReturnType<typeof usageStore>
