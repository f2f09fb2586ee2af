/** SQL of the local CA's keys. */
import { and, desc, eq, gt, inArray, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot } from "../db/hot"
import type { Tables } from "../db/tables/tables"

export type CaKeyRow = Tables["caKeys"]["$inferSelect"]
type NewCaKey = Tables["caKeys"]["$inferInsert"]
/** What tells which key signs, and which others lead to it. */
export type CaKey = Pick<CaKeyRow, "ski" | "state" | "formerSki" | "bridgedUntil">

export const caKeyStore = ({ t, read }: Db) => {
  // With everything that is issued.
  const keysOf = hot("ca_keys_of_issuer", (query: Query) =>
    query
      .select({
        ski: t.caKeys.ski,
        state: t.caKeys.state,
        formerSki: t.caKeys.formerSki,
        bridgedUntil: t.caKeys.bridgedUntil,
      })
      .from(t.caKeys)
      .where(eq(t.caKeys.issuerId, sql.placeholder("issuerId")))
      .orderBy(desc(t.caKeys.createdAt)),
  )

  return {
    /** All the issuer's keys without what is large, newest first. */
    ofIssuer: (issuerId: string): Promise<CaKey[]> => keysOf(read, { issuerId }),

    /** The issuer's own roots, newest first. */
    rootsOf: (issuerId: string): Promise<CaKeyRow[]> =>
      read
        .select()
        .from(t.caKeys)
        .where(and(eq(t.caKeys.issuerId, issuerId), inArray(t.caKeys.state, ["active", "retired"])))
        .orderBy(desc(t.caKeys.createdAt)),

    async get(issuerId: string, ski: string): Promise<CaKeyRow | null> {
      const rows = await read
        .select()
        .from(t.caKeys)
        .where(and(eq(t.caKeys.issuerId, issuerId), eq(t.caKeys.ski, ski)))
      return rows[0] ?? null
    },

    /** false when the issuer has an active key already. */
    async insert(tx: Tx, row: NewCaKey): Promise<boolean> {
      return (await tx.insert(t.caKeys).values(row).onConflictDoNothing().returning({ ski: t.caKeys.ski })).length > 0
    },

    /** The active key signs nothing more; false when it is not the active one. */
    async retire(tx: Tx, issuerId: string, ski: string): Promise<boolean> {
      const changed = await tx
        .update(t.caKeys)
        .set({ state: "retired" })
        .where(and(eq(t.caKeys.issuerId, issuerId), eq(t.caKeys.ski, ski), eq(t.caKeys.state, "active")))
        .returning({ ski: t.caKeys.ski })
      return changed.length > 0
    },

    /** Takes the way from a former key to the next one away at `at`; false when there is none at that time. */
    async endBridge(tx: Tx, issuerId: string, formerSki: string, at: Date): Promise<boolean> {
      const changed = await tx
        .update(t.caKeys)
        .set({ bridgedUntil: at })
        .where(and(eq(t.caKeys.issuerId, issuerId), eq(t.caKeys.formerSki, formerSki), gt(t.caKeys.bridgedUntil, at)))
        .returning({ ski: t.caKeys.ski })
      return changed.length > 0
    },

    async removeAll(tx: Tx, issuerId: string): Promise<void> {
      await tx.delete(t.caKeys).where(eq(t.caKeys.issuerId, issuerId))
    },
  }
}

export type CaKeyStore = ReturnType<typeof caKeyStore>
