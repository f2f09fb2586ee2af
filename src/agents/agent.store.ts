/** SQL of agents and of the tokens that let them join. */
import { and, asc, count, eq, inArray, isNotNull, isNull, lt, notInArray, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot, hotUpdateCount } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"
import { sentinelAgentIds } from "./sentinel-agents"

export type AgentRow = Tables["agents"]["$inferSelect"]
export type NewAgentRow = Tables["agents"]["$inferInsert"]
export type JoinTokenRow = Tables["joinTokens"]["$inferSelect"]

export interface AgentFilter extends TextFilter {
  readonly status?: string | undefined
}

export const agentStore = ({ t, read }: Db) => {
  const { id, name, hostname, ipAddress, os, architecture, version, registeredAt, retiredAt } = t.agents
  const text = [id, name, hostname, ipAddress, os, architecture, version]
  const listed = listing({ id, time: registeredAt, text })
  const listedRetired = listing({ id, time: retiredAt, text })
  const activeFilter = ({ status, search }: AgentFilter) =>
    and(
      isNull(t.agents.retiredAt),
      status === undefined ? undefined : sql`${t.agents.status} = ${status}`,
      listed.matches(search),
    )
  // With every request of an agent: building a query takes ten times as long as running it.
  const byId = hot("agent_by_id", (query: Query) =>
    query
      .select()
      .from(t.agents)
      .where(eq(t.agents.id, sql.placeholder("id"))),
  )
  const byKeyHash = hot("agent_by_key_hash", (query: Query) =>
    query
      .select()
      .from(t.agents)
      // The second says what the index is restricted to: of a parameter SQLite does not know that it is not empty.
      .where(and(eq(t.agents.apiKeyHash, sql.placeholder("hash")), sql`api_key_hash <> ''`)),
  )
  const changeWhile = hotUpdateCount(
    "change_agent_while",
    t.agents,
    and(
      eq(t.agents.id, sql.placeholder("id")),
      eq(t.agents.status, sql.placeholder("status")),
      isNull(t.agents.retiredAt),
    ),
    t.agents.id,
  )
  const retiredFilter = ({ search }: TextFilter) => and(isNotNull(retiredAt), listedRetired.matches(search))
  return {
    async get(id: string, query: Query | Tx = read): Promise<AgentRow | null> {
      return (await byId(query, { id }))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<AgentRow | null> {
      return (await forUpdate(tx.select().from(t.agents).where(eq(t.agents.id, id))))[0] ?? null
    },

    async findByKeyHash(hash: string): Promise<AgentRow | null> {
      return (await byKeyHash(read, { hash }))[0] ?? null
    },

    list: (filter: AgentFilter, slice: Slice) => listed.read(read.select().from(t.agents), activeFilter(filter), slice),

    async total(filter: AgentFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.agents).where(activeFilter(filter))
      return row?.n ?? 0
    },

    listRetired: (filter: TextFilter, slice: Slice) =>
      listedRetired.read(read.select().from(t.agents), retiredFilter(filter), slice),

    async totalRetired(filter: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.agents).where(retiredFilter(filter))
      return row?.n ?? 0
    },

    /** null when an agent that is not retired has the name. */
    async insert(tx: Tx, agent: NewAgentRow): Promise<AgentRow | null> {
      return (await tx.insert(t.agents).values(agent).onConflictDoNothing().returning())[0] ?? null
    },

    async patch(tx: Tx, id: string, set: Partial<NewAgentRow>): Promise<void> {
      await tx.update(t.agents).set(set).where(eq(t.agents.id, id))
    },

    /** Changes an agent that is not retired and has the status; false when there is none. */
    async patchWhile(tx: Tx, id: string, status: AgentRow["status"], set: Partial<NewAgentRow>): Promise<boolean> {
      return (await changeWhile(tx, set, { id, status })) > 0
    },

    /** Marks some of the agents that have been silent; returns them. `from`: the statuses that can become Offline. */
    markSilent: (tx: Tx, from: readonly AgentRow["status"][], silentSince: Date, limit: number) => {
      const isSilent = and(
        inArray(t.agents.status, [...from]),
        isNull(t.agents.retiredAt),
        notInArray(t.agents.id, sentinelAgentIds),
        lt(t.agents.lastHeartbeatAt, silentSince),
      )
      const some = tx.select({ id: t.agents.id }).from(t.agents).where(isSilent).limit(limit)
      // Said twice: one that reports at this moment is looked at again when its row is free.
      return tx
        .update(t.agents)
        .set({ status: "Offline" })
        .where(and(inArray(t.agents.id, some), isSilent))
        .returning()
    },

    async activeTargets(tx: Tx | Query, agentId: string): Promise<string[]> {
      const rows = await tx
        .select({ id: t.deploymentTargets.id })
        .from(t.deploymentTargets)
        .where(and(eq(t.deploymentTargets.agentId, agentId), isNull(t.deploymentTargets.retiredAt)))
        .orderBy(asc(t.deploymentTargets.id))
      return rows.map((row) => row.id)
    },

    async countCertificates(tx: Tx | Query, targetIds: readonly string[]): Promise<number> {
      if (targetIds.length === 0) return 0
      const rows = await tx
        .selectDistinct({ id: t.certificateTargets.certificateId })
        .from(t.certificateTargets)
        .where(inArray(t.certificateTargets.targetId, [...targetIds]))
      return rows.length
    },

    async retireTargets(tx: Tx, agentId: string, retiredAt: Date, reason: string): Promise<void> {
      await tx
        .update(t.deploymentTargets)
        .set({ retiredAt, retiredReason: reason, updatedAt: retiredAt })
        .where(and(eq(t.deploymentTargets.agentId, agentId), isNull(t.deploymentTargets.retiredAt)))
    },
  }
}

export type AgentStore = ReturnType<typeof agentStore>

export const joinTokenStore = ({ t, read }: Db) => {
  const { id, createdAt, createdBy, agentId } = t.joinTokens
  const listed = listing({ id, time: createdAt, text: [id, createdBy, agentId] })

  return {
    async insert(tx: Tx, token: Tables["joinTokens"]["$inferInsert"]): Promise<void> {
      await tx.insert(t.joinTokens).values(token)
    },

    async get(id: string): Promise<JoinTokenRow | null> {
      return (await read.select().from(t.joinTokens).where(eq(t.joinTokens.id, id)))[0] ?? null
    },

    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(t.joinTokens), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.joinTokens).where(listed.matches(search))
      return row?.n ?? 0
    },

    /** Uses a token up. False when it was used, or has expired, in the meantime. */
    async spend(tx: Tx, id: string, agentId: string, now: Date): Promise<boolean> {
      const spent = await tx
        .update(t.joinTokens)
        .set({ usedAt: now, agentId })
        .where(
          and(
            eq(t.joinTokens.id, id),
            isNull(t.joinTokens.usedAt),
            sql`${t.joinTokens.expiresAt} > ${sql.param(now, t.joinTokens.expiresAt)}`,
          ),
        )
        .returning({ id: t.joinTokens.id })
      return spent.length > 0
    },

    async remove(tx: Tx, id: string): Promise<boolean> {
      return (
        (await tx.delete(t.joinTokens).where(eq(t.joinTokens.id, id)).returning({ id: t.joinTokens.id })).length > 0
      )
    },
  }
}

export type JoinTokenStore = ReturnType<typeof joinTokenStore>
