/** SQL of issuers. */
import { and, count, desc, eq, isNull } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type IssuerRow = Tables["issuers"]["$inferSelect"]

export const issuerStore = ({ t, read }: Db) => ({
  /** Newest first. */
  list: ({ limit, offset }: { limit: number; offset: number }) =>
    read.select().from(t.issuers).orderBy(desc(t.issuers.createdAt), desc(t.issuers.id)).limit(limit).offset(offset),

  async total(): Promise<number> {
    const [row] = await read.select({ n: count() }).from(t.issuers)
    return row?.n ?? 0
  },

  async get(id: string): Promise<IssuerRow | null> {
    return (await read.select().from(t.issuers).where(eq(t.issuers.id, id)))[0] ?? null
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
})

export type IssuerStore = ReturnType<typeof issuerStore>
