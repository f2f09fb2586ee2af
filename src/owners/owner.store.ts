/** SQL of owners. */
import { count, desc, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type OwnerRow = Tables["owners"]["$inferSelect"]

export const ownerStore = ({ t, read }: Db) => ({
  /** Newest first. */
  list: ({ limit, offset }: { limit: number; offset: number }) =>
    read.select().from(t.owners).orderBy(desc(t.owners.createdAt), desc(t.owners.id)).limit(limit).offset(offset),

  async total(): Promise<number> {
    const [row] = await read.select({ n: count() }).from(t.owners)
    return row?.n ?? 0
  },

  async get(id: string): Promise<OwnerRow | null> {
    return (await read.select().from(t.owners).where(eq(t.owners.id, id)))[0] ?? null
  },

  /** null when the id is taken. */
  async insert(tx: Tx, row: OwnerRow): Promise<OwnerRow | null> {
    return (await tx.insert(t.owners).values(row).onConflictDoNothing().returning())[0] ?? null
  },

  /** null when there is no such owner. Keys that are undefined keep their value. */
  async update(tx: Tx, id: string, patch: Partial<OwnerRow>): Promise<OwnerRow | null> {
    return (await tx.update(t.owners).set(patch).where(eq(t.owners.id, id)).returning())[0] ?? null
  },

  /** Whether there was one. */
  async remove(tx: Tx, id: string): Promise<boolean> {
    return (await tx.delete(t.owners).where(eq(t.owners.id, id)).returning({ id: t.owners.id })).length > 0
  },
})

export type OwnerStore = ReturnType<typeof ownerStore>
