/** SQL of signed lists: the newest per CA key, which all servers share, and the history of their making. */
import { and, asc, desc, eq, inArray, lt } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type CrlRow = Tables["crlCache"]["$inferSelect"]
export type CrlGeneration = Tables["crlGenerationEvents"]["$inferSelect"]

export const crlStore = ({ t, read }: Db) => {
  const { crlCache, crlGenerationEvents: generations } = t
  return {
    async get(issuerId: string, caSki: string): Promise<CrlRow | null> {
      const rows = await read
        .select()
        .from(crlCache)
        .where(and(eq(crlCache.issuerId, issuerId), eq(crlCache.caSki, caSki)))
      return rows[0] ?? null
    },

    /** The highest number of any list of the issuer; 0 when there is none. */
    async lastNumber(issuerId: string): Promise<number> {
      const rows = await read
        .select({ number: crlCache.crlNumber })
        .from(crlCache)
        .where(eq(crlCache.issuerId, issuerId))
        .orderBy(desc(crlCache.crlNumber))
        .limit(1)
      return rows[0]?.number ?? 0
    },

    /** Stores a list unless one with a higher number is there: two servers may sign at the same moment. */
    async put(tx: Tx, row: CrlRow): Promise<void> {
      const { createdAt: _, ...change } = row
      await tx
        .insert(crlCache)
        .values(row)
        .onConflictDoUpdate({
          target: [crlCache.issuerId, crlCache.caSki],
          set: change,
          setWhere: lt(crlCache.crlNumber, row.crlNumber),
        })
    },

    /** Records a generation and forgets all but the newest `keep` of the issuer. */
    async record(tx: Tx, generation: CrlGeneration, keep: number): Promise<void> {
      await tx.insert(generations).values(generation)
      const old = await tx
        .select({ id: generations.id })
        .from(generations)
        .where(eq(generations.issuerId, generation.issuerId))
        .orderBy(desc(generations.startedAt), desc(generations.id))
        .limit(100)
        .offset(keep)
      if (old.length > 0)
        await tx.delete(generations).where(
          inArray(
            generations.id,
            old.map(({ id }) => id),
          ),
        )
    },

    /** Without the lists themselves. */
    summaries: () =>
      read
        .select({
          issuerId: crlCache.issuerId,
          caSki: crlCache.caSki,
          crlNumber: crlCache.crlNumber,
          thisUpdate: crlCache.thisUpdate,
          nextUpdate: crlCache.nextUpdate,
          generatedAt: crlCache.generatedAt,
          generationDurationMs: crlCache.generationDurationMs,
          revokedCount: crlCache.revokedCount,
        })
        .from(crlCache)
        .orderBy(asc(crlCache.issuerId), desc(crlCache.generatedAt)),

    generations: (issuerId: string, limit: number): Promise<CrlGeneration[]> =>
      read
        .select()
        .from(generations)
        .where(eq(generations.issuerId, issuerId))
        .orderBy(desc(generations.startedAt), desc(generations.id))
        .limit(limit),
  }
}

export type CrlStore = ReturnType<typeof crlStore>
