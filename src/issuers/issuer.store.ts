/** SQL of issuers. */
import { and, asc, count, eq, inArray, isNotNull, isNull, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"

export type IssuerRow = Tables["issuers"]["$inferSelect"]

export const issuerStore = ({ t, read }: Db) => {
  const listed = listing({
    id: t.issuers.id,
    time: t.issuers.createdAt,
    text: [t.issuers.id, t.issuers.name, t.issuers.type],
  })

  // With everything that is issued.
  const byId = hot("issuer_by_id", (query: Query) =>
    query
      .select()
      .from(t.issuers)
      .where(eq(t.issuers.id, sql.placeholder("id"))),
  )

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(t.issuers), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.issuers).where(listed.matches(search))
      return row?.n ?? 0
    },

    async get(id: string): Promise<IssuerRow | null> {
      return (await byId(read, { id }))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<IssuerRow | null> {
      return (await forUpdate(tx.select().from(t.issuers).where(eq(t.issuers.id, id))))[0] ?? null
    },

    async idsOfTypes(types: readonly string[]): Promise<string[]> {
      const rows = await read
        .select({ id: t.issuers.id })
        .from(t.issuers)
        .where(inArray(t.issuers.type, [...types]))
        .orderBy(asc(t.issuers.id))
      return rows.map(({ id }) => id)
    },

    fromEnvironment: () => read.select().from(t.issuers).where(eq(t.issuers.source, "env")),

    /** null when the id or the name is taken. */
    async insert(tx: Tx, row: IssuerRow): Promise<IssuerRow | null> {
      return (await tx.insert(t.issuers).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such issuer. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, patch: Partial<IssuerRow>): Promise<IssuerRow | null> {
      return (await tx.update(t.issuers).set(patch).where(eq(t.issuers.id, id)).returning())[0] ?? null
    },

    /** Whether it was well before. */
    async markDegraded(tx: Tx, id: string, since: Date, reason: string): Promise<boolean> {
      const { degradedSince } = t.issuers
      const fresh = await tx
        .update(t.issuers)
        .set({ degradedSince: since, degradedReason: reason })
        .where(and(eq(t.issuers.id, id), isNull(degradedSince)))
        .returning({ id: t.issuers.id })
      if (fresh.length > 0) return true
      await tx.update(t.issuers).set({ degradedReason: reason }).where(eq(t.issuers.id, id))
      return false
    },

    /** Whether it was degraded before. */
    async markWell(tx: Tx, id: string): Promise<boolean> {
      const changed = await tx
        .update(t.issuers)
        .set({ degradedSince: null, degradedReason: null })
        .where(and(eq(t.issuers.id, id), isNotNull(t.issuers.degradedSince)))
        .returning({ id: t.issuers.id })
      return changed.length > 0
    },

    /** null when the configuration is no longer the one that the new one was made from. */
    async replaceConfig(tx: Tx, from: IssuerRow, patch: Partial<IssuerRow>): Promise<IssuerRow | null> {
      const { encryptedConfig } = t.issuers
      const unchanged =
        from.encryptedConfig === null ? isNull(encryptedConfig) : eq(encryptedConfig, from.encryptedConfig)
      const changed = await tx
        .update(t.issuers)
        .set(patch)
        .where(and(eq(t.issuers.id, from.id), eq(t.issuers.type, from.type), unchanged))
        .returning()
      return changed[0] ?? null
    },

    /** Whether there was one. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(t.issuers).where(eq(t.issuers.id, id)).returning({ id: t.issuers.id })).length > 0
    },
  }
}

export type IssuerStore = ReturnType<typeof issuerStore>
