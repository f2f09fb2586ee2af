/** SQL of teams. */
import { count, desc, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type TeamRow = Tables["teams"]["$inferSelect"]

export const teamStore = ({ t, read }: Db) => ({
  /** Newest first. */
  list: ({ limit, offset }: { limit: number; offset: number }) =>
    read.select().from(t.teams).orderBy(desc(t.teams.createdAt), desc(t.teams.id)).limit(limit).offset(offset),

  async total(): Promise<number> {
    const [row] = await read.select({ n: count() }).from(t.teams)
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
})

export type TeamStore = ReturnType<typeof teamStore>
