/** SQL of deployment targets. */
import { and, asc, count, eq, inArray, isNotNull, isNull, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"

export type TargetRow = Tables["deploymentTargets"]["$inferSelect"]

/** What decides whether a target's agent could deploy. */
export interface AgentState {
  readonly name: string
  readonly status: string
  readonly lastHeartbeatAt: Date | null
  readonly retiredAt: Date | null
  /** Whether it runs the connectors' own checks when it is asked to. */
  readonly takesChecks: boolean
}

export const targetStore = ({
  t: { deploymentTargets: targets, agents, certificates, certificateTargets },
  read,
  dialect,
}: Db) => {
  const listed = listing({
    id: targets.id,
    time: targets.createdAt,
    text: [targets.id, targets.name, targets.type, targets.agentId],
  })

  const listedOfAgent = listing({
    id: targets.id,
    time: targets.createdAt,
    text: [targets.id, targets.name, targets.type],
  })
  const ofAgent = (agentId: string, { search }: TextFilter) =>
    and(eq(targets.agentId, agentId), isNull(targets.retiredAt), listedOfAgent.matches(search))

  // Several times in each deployment.
  const byId = hot("target_by_id", (query: Query) =>
    query
      .select()
      .from(targets)
      .where(eq(targets.id, sql.placeholder("id"))),
  )

  return {
    /** Newest first, retired ones included. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(targets), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(targets).where(listed.matches(search))
      return row?.n ?? 0
    },

    /** Those of one agent, newest first, without retired ones. */
    listOfAgent: (agentId: string, filter: TextFilter, slice: Slice): Promise<TargetRow[]> =>
      listedOfAgent.read(read.select().from(targets), ofAgent(agentId, filter), slice, undefined, dialect !== "sqlite"),

    async totalOfAgent(agentId: string, filter: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(targets).where(ofAgent(agentId, filter))
      return row?.n ?? 0
    },

    async get(id: string): Promise<TargetRow | null> {
      return (await byId(read, { id }))[0] ?? null
    },

    /** Name and windows of those of the targets that have windows. */
    async windowsOf(query: Query | Tx, ids: readonly string[]) {
      const rows = await query
        .select({ id: targets.id, targetName: targets.name, windows: targets.deploymentWindows })
        .from(targets)
        .where(and(inArray(targets.id, [...ids]), isNotNull(targets.deploymentWindows)))
      return new Map(rows.map((row) => [row.id, row]))
    },

    async lock(tx: Tx, id: string): Promise<TargetRow | null> {
      return (await forUpdate(tx.select().from(targets).where(eq(targets.id, id))))[0] ?? null
    },

    /** null when there is no such agent. */
    async agentState(query: Query, agentId: string): Promise<AgentState | null> {
      const { name, status, lastHeartbeatAt, retiredAt, takesChecks } = agents
      const rows = await query
        .select({ name, status, lastHeartbeatAt, retiredAt, takesChecks })
        .from(agents)
        .where(eq(agents.id, agentId))
      return rows[0] ?? null
    },

    /** Certificates that go to the target, locked: whoever works on one holds it while adding jobs for the target. */
    async lockCertificates(tx: Tx, id: string) {
      const mapped = tx
        .select({ id: certificateTargets.certificateId })
        .from(certificateTargets)
        .where(eq(certificateTargets.targetId, id))
      return forUpdate(
        tx
          .select({ id: certificates.id, expiresAt: certificates.expiresAt, renewAt: certificates.renewAt })
          .from(certificates)
          .where(inArray(certificates.id, mapped))
          .orderBy(asc(certificates.id)),
      )
    },

    /** null when the id is taken, or the name on that agent. */
    async insert(tx: Tx, row: TargetRow): Promise<TargetRow | null> {
      return (await tx.insert(targets).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such target. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<TargetRow>): Promise<TargetRow | null> {
      return (await tx.update(targets).set(patch).where(eq(targets.id, id)).returning())[0] ?? null
    },

    /** null when configuration, type or agent are no longer those that the new ones were made from. */
    async replaceConfig(tx: Tx, from: TargetRow, patch: Partial<TargetRow>): Promise<TargetRow | null> {
      const { encryptedConfig } = targets
      const isUnchanged = and(
        eq(targets.type, from.type),
        eq(targets.agentId, from.agentId),
        from.encryptedConfig === null ? isNull(encryptedConfig) : eq(encryptedConfig, from.encryptedConfig),
      )
      const changed = await tx
        .update(targets)
        .set(patch)
        .where(and(eq(targets.id, from.id), isUnchanged))
        .returning()
      return changed[0] ?? null
    },

    /** Whether there was one. Its mappings go with it, its jobs stay without it. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(targets).where(eq(targets.id, id)).returning({ id: targets.id })).length > 0
    },
  }
}

export type TargetStore = ReturnType<typeof targetStore>
