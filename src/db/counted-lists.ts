/**
 * What is counted. The triggers of both dialects are made from this and keep the numbers up to date with every insert, update
 * and delete; a changed entry is counted anew at the next start.
 */

/**
 * What is kept of a row of each table: text columns by which rows are told apart, and times, of which the UTC day is kept. Counters
 * are sorted in this order: the column with the most values comes first, so that the counters of one value lie together.
 */
export const countedTables = {
  managed_certificates: {
    values: ["owner_id", "team_id", "status", "environment", "issuer_id", "certificate_profile_id"],
    days: ["expires_at", "created_at"],
  },
  jobs: { values: ["agent_id", "status", "type"], days: ["completed_at"] },
  audit_events: { values: ["actor", "actor_type", "resource_type", "action"], days: ["timestamp"] },
  notification_events: { values: ["status", "type", "channel"], days: [] },
  policy_violations: { values: ["rule_id"], days: [] },
  discovered_certificates: { values: ["agent_id", "status"], days: [] },
  discovery_scans: { values: ["agent_id"], days: [] },
} as const

type CountedTables = typeof countedTables
/** Name in SQL. */
export type TableName = keyof CountedTables
export const tableNames = Object.keys(countedTables) as TableName[]

export interface CountedList {
  readonly table: TableName
  /** What rows are told apart by: a column each. */
  readonly dimensions: Readonly<Record<string, string>>
  /** A time column by whose UTC day the rows are counted too. Rows that have none are left out. */
  readonly day?: string
  /** Rows that are not counted: those of one value of a column. */
  readonly without?: { readonly column: string; readonly value: string }
  /** Combinations of dimensions, coarsest first: a total adds up the groups of the first that has all it asks for. */
  readonly by: readonly (readonly string[])[]
}

const counted = <
  T extends TableName,
  const D extends Readonly<Record<string, CountedTables[T]["values"][number]>>,
>(list: {
  readonly table: T
  readonly dimensions: D
  readonly day?: CountedTables[T]["days"][number]
  readonly without?: { readonly column: CountedTables[T]["values"][number]; readonly value: string }
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
  // There are thousands of agents, each with few events.
  auditDaysOfActors: counted({
    table: "audit_events",
    dimensions: { actor: "actor" },
    day: "timestamp",
    without: { column: "actor_type", value: "Agent" },
    by: [["actor"]],
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

/** Columns of `row_counts` and `row_changes` for the values of a row, and of `row_changes` for its days. */
export const valuePlaces = ["d1", "d2", "d3", "d4", "d5", "d6"] as const
export const dayPlaces = ["day1", "day2"] as const
export type ValuePlace = (typeof valuePlaces)[number]
export type DayPlace = (typeof dayPlaces)[number]

/** One combination of a list, as it is stored. */
export interface Combination {
  /** Marks its rows in `row_counts`. */
  readonly key: string
  readonly table: TableName
  /** Where the value of each of its dimensions stands. The other places are empty. */
  readonly places: Readonly<Record<string, ValuePlace>>
  readonly day: DayPlace | undefined
  /** Rows with this value there are left out. */
  readonly without: { readonly place: ValuePlace; readonly value: string } | undefined
}

const placeIn = <P extends string>(places: readonly P[], columns: readonly string[], column: string): P => {
  const place = places[columns.indexOf(column)]
  if (place === undefined) throw new Error(`there is no place for ${column}`)
  return place
}

export const combinationsOf = (name: ListName): Combination[] => {
  const { table, dimensions, day, without, by }: CountedList = countedLists[name]
  const { values, days } = countedTables[table]
  return by.map((names, index) => ({
    key: `${name}_${index}`,
    table,
    places: Object.fromEntries(
      names.map((dimension) => [dimension, placeIn(valuePlaces, values, dimensions[dimension] ?? "")]),
    ),
    day: day === undefined ? undefined : placeIn(dayPlaces, days, day),
    without: without && { place: placeIn(valuePlaces, values, without.column), value: without.value },
  }))
}

/** How a missing value is stored: no text that anybody enters. The same in SQL: `char(1)`, `chr(1)`. */
export const noValue = "\u0001"

const dayMs = 86_400_000

/** Days since 1970-01-01, UTC. */
export const dayOf = (time: Date): number => Math.floor(time.getTime() / dayMs)

/** Its first moment. */
export const startOfDay = (day: number): Date => new Date(day * dayMs)
