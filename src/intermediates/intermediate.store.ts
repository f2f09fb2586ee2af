/** SQL of the CAs in an issuer's hierarchy. */
import { and, asc, desc, eq, inArray } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"
import type { IntermediateState } from "./intermediate.machine"

export type IntermediateRow = Tables["intermediateCas"]["$inferSelect"]

export const intermediateStore = ({ t, read }: Db) => {
  const cas = t.intermediateCas
  return {
    async get(id: string, query: Query | Tx = read): Promise<IntermediateRow | null> {
      return (await query.select().from(cas).where(eq(cas.id, id)))[0] ?? null
    },

    /** Newest first. */
    ofIssuer: (issuerId: string, query: Query | Tx = read): Promise<IntermediateRow[]> =>
      query.select().from(cas).where(eq(cas.owningIssuerId, issuerId)).orderBy(desc(cas.createdAt), asc(cas.id)),

    /** Locks the issuer's CAs, so that a parent stays active until its child is stored. */
    async isActive(tx: Tx, id: string): Promise<boolean> {
      const rows = await tx
        .update(cas)
        .set({ state: "active" })
        .where(and(eq(cas.id, id), eq(cas.state, "active")))
        .returning({ id: cas.id })
      return rows.length > 0
    },

    /** null when the name is taken, or an active root is there. */
    async insert(tx: Tx, row: IntermediateRow): Promise<IntermediateRow | null> {
      return (await tx.insert(cas).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** False when the state is no longer `from`. */
    async setState(tx: Tx, id: string, from: IntermediateState, to: IntermediateState, now: Date): Promise<boolean> {
      const rows = await tx
        .update(cas)
        .set({ state: to, updatedAt: now })
        .where(and(eq(cas.id, id), eq(cas.state, from)))
        .returning({ id: cas.id })
      return rows.length > 0
    },

    /** Children that still sign. */
    async livingChildren(tx: Tx, id: string): Promise<number> {
      const rows = await tx
        .select({ id: cas.id })
        .from(cas)
        .where(and(eq(cas.parentCaId, id), inArray(cas.state, ["active", "retiring"])))
      return rows.length
    },
  }
}

export type IntermediateStore = ReturnType<typeof intermediateStore>
