/** SQL of certificate versions: each X.509 that was issued, newest first. Versions are never changed, only their dates of renewal. */
import { and, count, desc, eq, isNull } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type VersionRow = Tables["certificateVersions"]["$inferSelect"]
export type NewVersion = Tables["certificateVersions"]["$inferInsert"]

export const versionStore = ({ t, read }: Db) => {
  const newestFirst = [desc(t.certificateVersions.createdAt), desc(t.certificateVersions.id)] as const
  return {
    async get(id: string, query: Query | Tx = read): Promise<VersionRow | null> {
      return (await query.select().from(t.certificateVersions).where(eq(t.certificateVersions.id, id)))[0] ?? null
    },

    list: (certificateId: string, limit: number, offset: number) =>
      read
        .select()
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.certificateId, certificateId))
        .orderBy(...newestFirst)
        .limit(limit)
        .offset(offset),

    async total(certificateId: string): Promise<number> {
      const [row] = await read
        .select({ n: count() })
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.certificateId, certificateId))
      return row?.n ?? 0
    },

    /** The newest of an agent; of nobody where `agentId` is null. */
    async newestOf(query: Query | Tx, certificateId: string, agentId: string | null): Promise<VersionRow | null> {
      const rows = await query
        .select()
        .from(t.certificateVersions)
        .where(
          and(
            eq(t.certificateVersions.certificateId, certificateId),
            agentId === null ? isNull(t.certificateVersions.agentId) : eq(t.certificateVersions.agentId, agentId),
          ),
        )
        .orderBy(...newestFirst)
        .limit(1)
      return rows[0] ?? null
    },

    async newest(query: Query | Tx, certificateId: string): Promise<VersionRow | null> {
      const rows = await query
        .select()
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.certificateId, certificateId))
        .orderBy(...newestFirst)
        .limit(1)
      return rows[0] ?? null
    },

    async exists(query: Query | Tx, certificateId: string): Promise<boolean> {
      const rows = await query
        .select({ id: t.certificateVersions.id })
        .from(t.certificateVersions)
        .where(eq(t.certificateVersions.certificateId, certificateId))
        .limit(1)
      return rows.length > 0
    },

    async insert(tx: Tx, version: NewVersion): Promise<void> {
      await tx.insert(t.certificateVersions).values(version)
    },

    async setRenewAt(tx: Tx, id: string, renewAt: Date): Promise<void> {
      await tx.update(t.certificateVersions).set({ renewAt }).where(eq(t.certificateVersions.id, id))
    },
  }
}

export type VersionStore = ReturnType<typeof versionStore>
