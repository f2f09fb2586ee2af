/** SQL of agent groups. */
import { and, asc, count, eq, inArray, isNull, type SQL } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"

export type AgentGroupRow = Tables["agentGroups"]["$inferSelect"]

export const agentGroupStore = ({ t, read }: Db) => {
  const { agentGroups: groups, agentGroupMembers: members, agents } = t

  /** Agents that are not retired, each with its explicit row in the group. */
  const candidates = (query: Query | Tx, groupId: string, where?: SQL) =>
    query
      .select({ agent: agents, explicit: members.membershipType })
      .from(agents)
      .leftJoin(members, and(eq(members.agentId, agents.id), eq(members.agentGroupId, groupId)))
      .where(and(isNull(agents.retiredAt), where))
      .orderBy(asc(agents.id))

  const listed = listing({ id: groups.id, time: groups.createdAt, text: [groups.id, groups.name, groups.description] })

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(groups), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(groups).where(listed.matches(search))
      return row?.n ?? 0
    },

    async get(id: string, query: Query | Tx = read): Promise<AgentGroupRow | null> {
      return (await query.select().from(groups).where(eq(groups.id, id)))[0] ?? null
    },

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: AgentGroupRow): Promise<AgentGroupRow | null> {
      return (await tx.insert(groups).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such group. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<AgentGroupRow>): Promise<AgentGroupRow | null> {
      return (await tx.update(groups).set(patch).where(eq(groups.id, id)).returning())[0] ?? null
    },

    /** Whether there was one. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(groups).where(eq(groups.id, id)).returning({ id: groups.id })).length > 0
    },

    /** All that may be members. Which are is not for SQL to say: no dialect-neutral SQL knows address ranges. */
    candidates: (groupId: string) => candidates(read, groupId),

    /** The same for several groups at once: the agents, and who is explicitly in or out of which group. */
    async candidatesOf(groupIds: readonly string[]) {
      const [rows, explicit] = await Promise.all([
        read.select().from(agents).where(isNull(agents.retiredAt)),
        read
          .select()
          .from(members)
          .where(inArray(members.agentGroupId, [...groupIds])),
      ])
      return { agents: rows, explicit }
    },

    candidatesAmong: (query: Query | Tx, groupId: string, agentIds: readonly string[]) =>
      candidates(query, groupId, inArray(agents.id, [...agentIds])),

    /** Renewal policies that restrict their certificates to agents of the group. */
    async renewalPolicyIds(tx: Tx, groupId: string): Promise<string[]> {
      const rows = await tx
        .select({ id: t.renewalPolicies.id })
        .from(t.renewalPolicies)
        .where(eq(t.renewalPolicies.agentGroupId, groupId))
        .orderBy(asc(t.renewalPolicies.id))
      return rows.map(({ id }) => id)
    },
  }
}

export type AgentGroupStore = ReturnType<typeof agentGroupStore>
