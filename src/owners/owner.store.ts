/** SQL of owners. */
import { count, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"

export type OwnerRow = Tables["owners"]["$inferSelect"]

export const ownerStore = ({ t, read }: Db) => {
  const listed = listing({
    id: t.owners.id,
    time: t.owners.createdAt,
    text: [t.owners.id, t.owners.name, t.owners.email],
  })

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(t.owners), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.owners).where(listed.matches(search))
      return row?.n ?? 0
    },

    async get(id: string): Promise<OwnerRow | null> {
      return (await read.select().from(t.owners).where(eq(t.owners.id, id)))[0] ?? null
    },

    /** null when there is no such owner, or it has no team. */
    async teamOf(tx: Tx, id: string): Promise<string | null> {
      return (await tx.select({ teamId: t.owners.teamId }).from(t.owners).where(eq(t.owners.id, id)))[0]?.teamId ?? null
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
  }
}

export type OwnerStore = ReturnType<typeof ownerStore>
