/** SQL of renewal policies. */
import { asc, count, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"

export type RenewalPolicyRow = Tables["renewalPolicies"]["$inferSelect"]

export const renewalPolicyStore = ({ t, read }: Db) => {
  const listed = listing({
    id: t.renewalPolicies.id,
    time: t.renewalPolicies.createdAt,
    text: [t.renewalPolicies.id, t.renewalPolicies.name],
    order: [asc(t.renewalPolicies.name), asc(t.renewalPolicies.id)],
  })

  return {
    /** By name. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(t.renewalPolicies), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.renewalPolicies).where(listed.matches(search))
      return row?.n ?? 0
    },

    async get(id: string): Promise<RenewalPolicyRow | null> {
      return (await read.select().from(t.renewalPolicies).where(eq(t.renewalPolicies.id, id)))[0] ?? null
    },

    async hasName(tx: Tx, name: string): Promise<boolean> {
      const rows = await tx
        .select({ id: t.renewalPolicies.id })
        .from(t.renewalPolicies)
        .where(eq(t.renewalPolicies.name, name))
      return rows.length > 0
    },

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: RenewalPolicyRow): Promise<RenewalPolicyRow | null> {
      return (await tx.insert(t.renewalPolicies).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such policy. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<RenewalPolicyRow>): Promise<RenewalPolicyRow | null> {
      return (await tx.update(t.renewalPolicies).set(patch).where(eq(t.renewalPolicies.id, id)).returning())[0] ?? null
    },

    /** Whether there was one. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      const removed = await tx
        .delete(t.renewalPolicies)
        .where(eq(t.renewalPolicies.id, id))
        .returning({ id: t.renewalPolicies.id })
      return removed.length > 0
    },
  }
}

export type RenewalPolicyStore = ReturnType<typeof renewalPolicyStore>
