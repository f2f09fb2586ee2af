/** SQL of certificate profiles. */
import { count, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"

export type ProfileRow = Tables["certificateProfiles"]["$inferSelect"]

export const profileStore = ({ t: { certificateProfiles: profiles }, read }: Db) => {
  const listed = listing({
    id: profiles.id,
    time: profiles.createdAt,
    text: [profiles.id, profiles.name, profiles.description],
  })

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(profiles), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(profiles).where(listed.matches(search))
      return row?.n ?? 0
    },

    async get(id: string): Promise<ProfileRow | null> {
      return (await read.select().from(profiles).where(eq(profiles.id, id)))[0] ?? null
    },

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: ProfileRow): Promise<ProfileRow | null> {
      return (await tx.insert(profiles).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such profile. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<ProfileRow>): Promise<ProfileRow | null> {
      return (await tx.update(profiles).set(patch).where(eq(profiles.id, id)).returning())[0] ?? null
    },

    /** Whether there was one. Certificates and renewal policies lose their reference to it. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(profiles).where(eq(profiles.id, id)).returning({ id: profiles.id })).length > 0
    },
  }
}

export type ProfileStore = ReturnType<typeof profileStore>
