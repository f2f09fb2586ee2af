/** SQL of the local CA's keys. */
import { and, desc, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type CaKeyRow = Tables["caKeys"]["$inferSelect"]

export const caKeyStore = ({ t, read }: Db) => ({
  /** Key identifier of the active key; null when the issuer has none. */
  async activeSki(issuerId: string): Promise<string | null> {
    const [row] = await read
      .select({ ski: t.caKeys.ski })
      .from(t.caKeys)
      .where(and(eq(t.caKeys.issuerId, issuerId), eq(t.caKeys.state, "active")))
    return row?.ski ?? null
  },

  /** Key identifiers of all the issuer's keys, newest first. */
  async skisOf(issuerId: string): Promise<string[]> {
    const rows = await read
      .select({ ski: t.caKeys.ski })
      .from(t.caKeys)
      .where(eq(t.caKeys.issuerId, issuerId))
      .orderBy(desc(t.caKeys.createdAt))
    return rows.map(({ ski }) => ski)
  },

  async get(issuerId: string, ski: string): Promise<CaKeyRow | null> {
    const rows = await read
      .select()
      .from(t.caKeys)
      .where(and(eq(t.caKeys.issuerId, issuerId), eq(t.caKeys.ski, ski)))
    return rows[0] ?? null
  },

  /** false when the issuer has an active key already. */
  async insert(tx: Tx, row: CaKeyRow): Promise<boolean> {
    return (await tx.insert(t.caKeys).values(row).onConflictDoNothing().returning({ ski: t.caKeys.ski })).length > 0
  },

  async removeAll(tx: Tx, issuerId: string): Promise<void> {
    await tx.delete(t.caKeys).where(eq(t.caKeys.issuerId, issuerId))
  },
})

export type CaKeyStore = ReturnType<typeof caKeyStore>
