/** Names of rows by their ids, and the rows that forms and filters offer: what pages show in place of ids. Reads only. */
import { and, asc, eq, inArray, isNull } from "drizzle-orm"
import type { Db } from "../db/db"

/** A select box with more entries than this helps nobody. */
const mostChoices = 1000

export const namesStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const { certificates, issuers, owners, teams, certificateProfiles, renewalPolicies, deploymentTargets, agents } = t

  type NamedTable = typeof issuers | typeof owners | typeof teams | typeof deploymentTargets | typeof agents
  const named = async (table: NamedTable, ids: readonly string[]): Promise<{ id: string; name: string }[]> =>
    ids.length === 0
      ? []
      : read
          .select({ id: table.id, name: table.name })
          .from(table)
          .where(inArray(table.id, [...ids]))

  const choices = (table: typeof issuers | typeof owners | typeof teams | typeof certificateProfiles) =>
    read
      .select({ id: table.id, name: table.name })
      .from(table)
      .orderBy(asc(table.name), asc(table.id))
      .limit(mostChoices)

  return {
    issuers: (ids: readonly string[]) => named(issuers, ids),
    owners: (ids: readonly string[]) => named(owners, ids),
    teams: (ids: readonly string[]) => named(teams, ids),
    targets: (ids: readonly string[]) => named(deploymentTargets, ids),
    agents: (ids: readonly string[]) => named(agents, ids),

    certificates: async (ids: readonly string[]) =>
      ids.length === 0
        ? []
        : read
            .select({ id: certificates.id, commonName: certificates.commonName })
            .from(certificates)
            .where(inArray(certificates.id, [...ids])),

    policies: async (ids: readonly string[]) =>
      ids.length === 0
        ? []
        : read
            .select({
              id: renewalPolicies.id,
              name: renewalPolicies.name,
              autoRenew: renewalPolicies.autoRenew,
              renewalWindowDays: renewalPolicies.renewalWindowDays,
            })
            .from(renewalPolicies)
            .where(inArray(renewalPolicies.id, [...ids])),

    profiles: async (ids: readonly string[]) =>
      ids.length === 0
        ? []
        : read
            .select({
              id: certificateProfiles.id,
              name: certificateProfiles.name,
              maxTtlSeconds: certificateProfiles.maxTtlSeconds,
              requiresApproval: certificateProfiles.requiresApproval,
            })
            .from(certificateProfiles)
            .where(inArray(certificateProfiles.id, [...ids])),

    issuerChoices: () => choices(issuers),
    ownerChoices: () => choices(owners),
    teamChoices: () => choices(teams),
    profileChoices: () => choices(certificateProfiles),
    policyChoices: () =>
      read
        .select({
          id: renewalPolicies.id,
          name: renewalPolicies.name,
          renewalWindowDays: renewalPolicies.renewalWindowDays,
        })
        .from(renewalPolicies)
        .orderBy(asc(renewalPolicies.name), asc(renewalPolicies.id))
        .limit(mostChoices),

    /** Targets that can still receive something, with the agent that serves them. */
    targetChoices: () =>
      read
        .select({ id: deploymentTargets.id, name: deploymentTargets.name, agent: agents.name })
        .from(deploymentTargets)
        .innerJoin(agents, and(eq(agents.id, deploymentTargets.agentId), isNull(agents.retiredAt)))
        .where(isNull(deploymentTargets.retiredAt))
        .orderBy(asc(deploymentTargets.name), asc(deploymentTargets.id))
        .limit(mostChoices),
  }
}

export type NamesStore = ReturnType<typeof namesStore>
