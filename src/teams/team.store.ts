/** SQL of teams. */
import { count, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"

export type TeamRow = Tables["teams"]["$inferSelect"]

export const teamStore = ({ t, read }: Db) => {
  const listed = listing({
    id: t.teams.id,
    time: t.teams.createdAt,
    text: [t.teams.id, t.teams.name, t.teams.description],
  })

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(t.teams), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.teams).where(listed.matches(search))
      return row?.n ?? 0
    },

    async get(id: string): Promise<TeamRow | null> {
      return (await read.select().from(t.teams).where(eq(t.teams.id, id)))[0] ?? null
    },

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: TeamRow): Promise<TeamRow | null> {
      return (await tx.insert(t.teams).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such team. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<TeamRow>): Promise<TeamRow | null> {
      return (await tx.update(t.teams).set(patch).where(eq(t.teams.id, id)).returning())[0] ?? null
    },

    /** Whether there was one. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(t.teams).where(eq(t.teams.id, id)).returning({ id: t.teams.id })).length > 0
    },
  }
}

export type TeamStore = ReturnType<typeof teamStore>
