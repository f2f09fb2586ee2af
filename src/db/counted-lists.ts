/**
 * What is counted. The triggers of both dialects are made from this and keep the numbers up to date with every insert, update
 * and delete; a changed entry is counted anew at the next start.
 */

export interface CountedList {
  /** Name in SQL. */
  readonly table: string
  /** What rows are told apart by: a text column each. */
  readonly dimensions: Readonly<Record<string, string>>
  /** A time column by whose UTC day the rows are counted too. Rows that have none are left out. */
  readonly day?: string
  /**
   * Combinations of dimensions, coarsest first: a total adds up the groups of the first that has all it asks for. The dimension
   * with the most values comes first in its combination, so that the groups of one value lie together.
   */
  readonly by: readonly (readonly string[])[]
}

const counted = <const D extends Record<string, string>>(list: {
  readonly table: string
  readonly dimensions: D
  readonly day?: string
  readonly by: readonly (readonly (keyof D & string)[])[]
}) => list

export const countedLists = {
  certificates: counted({
    table: "managed_certificates",
    dimensions: {
      status: "status",
      environment: "environment",
      issuerId: "issuer_id",
      profileId: "certificate_profile_id",
      teamId: "team_id",
      ownerId: "owner_id",
    },
    by: [
      ["status", "environment", "issuerId", "profileId"],
      ["teamId", "status", "environment", "issuerId", "profileId"],
      ["ownerId", "teamId", "status", "environment", "issuerId", "profileId"],
    ],
  }),
  certificateExpiries: counted({
    table: "managed_certificates",
    dimensions: {
      status: "status",
      environment: "environment",
      issuerId: "issuer_id",
      profileId: "certificate_profile_id",
      teamId: "team_id",
    },
    day: "expires_at",
    // One by one: all of them together would be nearly as many groups as there are certificates.
    by: [["status"], ["environment"], ["issuerId"], ["profileId"], ["teamId"]],
  }),
  certificateCreations: counted({
    table: "managed_certificates",
    dimensions: { status: "status" },
    day: "created_at",
    by: [["status"]],
  }),
  jobs: counted({
    table: "jobs",
    dimensions: { status: "status", type: "type", agentId: "agent_id" },
    by: [
      ["status", "type"],
      ["agentId", "status", "type"],
    ],
  }),
  finishedJobs: counted({
    table: "jobs",
    dimensions: { status: "status" },
    day: "completed_at",
    by: [["status"]],
  }),
  auditEvents: counted({
    table: "audit_events",
    dimensions: { actorType: "actor_type", resourceType: "resource_type", action: "action", actor: "actor" },
    by: [
      ["actorType", "resourceType", "action"],
      ["actor", "actorType", "resourceType", "action"],
    ],
  }),
  auditDays: counted({
    table: "audit_events",
    dimensions: { actorType: "actor_type", resourceType: "resource_type", action: "action" },
    day: "timestamp",
    by: [["actorType", "resourceType", "action"]],
  }),
  notifications: counted({
    table: "notification_events",
    dimensions: { status: "status", type: "type", channel: "channel" },
    by: [["status", "type", "channel"]],
  }),
  violations: counted({
    table: "policy_violations",
    dimensions: { ruleId: "rule_id" },
    by: [["ruleId"]],
  }),
  discoveredCertificates: counted({
    table: "discovered_certificates",
    dimensions: { status: "status", agentId: "agent_id" },
    by: [["status"], ["agentId", "status"]],
  }),
  discoveryScans: counted({
    table: "discovery_scans",
    dimensions: { agentId: "agent_id" },
    by: [[], ["agentId"]],
  }),
} as const

export type CountedLists = typeof countedLists
export type ListName = keyof CountedLists
export type Dimension<L extends ListName> = keyof CountedLists[L]["dimensions"] & string

/** One combination of a list, as it is stored. */
export interface Combination {
  /** Marks its rows in `row_counts`, and its triggers. */
  readonly key: string
  readonly dimensions: readonly string[]
  /** Their columns, in the same order. */
  readonly columns: readonly string[]
  readonly day: string | undefined
}

export const combinationsOf = (name: ListName): Combination[] => {
  const { dimensions, day, by }: CountedList = countedLists[name]
  return by.map((names, index) => ({
    key: `${name}_${index}`,
    dimensions: names,
    columns: names.map((dimension) => dimensions[dimension] ?? ""),
    day,
  }))
}

/** How a missing value is stored: no text that anybody enters. The same in SQL: `char(1)`, `chr(1)`. */
export const noValue = "\u0001"

const dayMs = 86_400_000

/** Days since 1970-01-01, UTC. */
export const dayOf = (time: Date): number => Math.floor(time.getTime() / dayMs)

/** Its first moment. */
export const startOfDay = (day: number): Date => new Date(day * dayMs)
