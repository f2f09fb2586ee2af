/** SQL of agents and of the tokens that let them join. */
import { and, asc, count, desc, eq, inArray, isNotNull, isNull, lt, notInArray, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"
import { sentinelAgentIds } from "./sentinel-agents"

export type AgentRow = Tables["agents"]["$inferSelect"]
export type NewAgentRow = Tables["agents"]["$inferInsert"]
export type JoinTokenRow = Tables["joinTokens"]["$inferSelect"]

export const agentStore = ({ t, read }: Db) => {
  const activeFilter = (status: string | undefined) =>
    and(isNull(t.agents.retiredAt), status === undefined ? undefined : sql`${t.agents.status} = ${status}`)
  return {
    async get(id: string, query: Query | Tx = read): Promise<AgentRow | null> {
      return (await query.select().from(t.agents).where(eq(t.agents.id, id)))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<AgentRow | null> {
      return (await forUpdate(tx.select().from(t.agents).where(eq(t.agents.id, id))))[0] ?? null
    },

    async findByKeyHash(hash: string): Promise<AgentRow | null> {
      return (await read.select().from(t.agents).where(eq(t.agents.apiKeyHash, hash)))[0] ?? null
    },

    list: (status: string | undefined, limit: number, offset: number) =>
      read
        .select()
        .from(t.agents)
        .where(activeFilter(status))
        .orderBy(desc(t.agents.registeredAt), desc(t.agents.id))
        .limit(limit)
        .offset(offset),

    async total(status: string | undefined): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.agents).where(activeFilter(status))
      return row?.n ?? 0
    },

    listRetired: (limit: number, offset: number) =>
      read
        .select()
        .from(t.agents)
        .where(isNotNull(t.agents.retiredAt))
        .orderBy(desc(t.agents.retiredAt), desc(t.agents.id))
        .limit(limit)
        .offset(offset),

    async totalRetired(): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.agents).where(isNotNull(t.agents.retiredAt))
      return row?.n ?? 0
    },

    /** null when an agent that is not retired has the name. */
    async insert(tx: Tx, agent: NewAgentRow): Promise<AgentRow | null> {
      return (await tx.insert(t.agents).values(agent).onConflictDoNothing().returning())[0] ?? null
    },

    async patch(tx: Tx, id: string, set: Partial<NewAgentRow>): Promise<void> {
      await tx.update(t.agents).set(set).where(eq(t.agents.id, id))
    },

    /** Records a sign of life; null when the agent is unknown or retired. */
    async heartbeat(tx: Tx, id: string, set: Partial<NewAgentRow>): Promise<{ id: string } | null> {
      const changed = await tx
        .update(t.agents)
        .set(set)
        .where(and(eq(t.agents.id, id), isNull(t.agents.retiredAt)))
        .returning({ id: t.agents.id })
      return changed[0] ?? null
    },

    /** Marks agents that have been silent; returns them. */
    markSilent: (tx: Tx, silentSince: Date) =>
      tx
        .update(t.agents)
        .set({ status: "Offline" })
        .where(
          and(
            eq(t.agents.status, "Online"),
            isNull(t.agents.retiredAt),
            notInArray(t.agents.id, sentinelAgentIds),
            lt(t.agents.lastHeartbeatAt, silentSince),
          ),
        )
        .returning(),

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

export const joinTokenStore = ({ t, read }: Db) => ({
  async insert(tx: Tx, token: Tables["joinTokens"]["$inferInsert"]): Promise<void> {
    await tx.insert(t.joinTokens).values(token)
  },

  async get(id: string): Promise<JoinTokenRow | null> {
    return (await read.select().from(t.joinTokens).where(eq(t.joinTokens.id, id)))[0] ?? null
  },

  list: (limit: number, offset: number) =>
    read
      .select()
      .from(t.joinTokens)
      .orderBy(desc(t.joinTokens.createdAt), desc(t.joinTokens.id))
      .limit(limit)
      .offset(offset),

  async total(): Promise<number> {
    const [row] = await read.select({ n: count() }).from(t.joinTokens)
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
    return (await tx.delete(t.joinTokens).where(eq(t.joinTokens.id, id)).returning({ id: t.joinTokens.id })).length > 0
  },
})

export type JoinTokenStore = ReturnType<typeof joinTokenStore>
