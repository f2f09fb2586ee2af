/** SQL of network scan targets. */
import { count, desc, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type NetworkScanTargetRow = Tables["networkScanTargets"]["$inferSelect"]

export const networkScanTargetStore = ({ t: { networkScanTargets: targets, healthChecks }, read }: Db) => ({
  /** Newest first. */
  list: ({ limit, offset }: { limit: number; offset: number }) =>
    read.select().from(targets).orderBy(desc(targets.createdAt), desc(targets.id)).limit(limit).offset(offset),

  async total(): Promise<number> {
    const [row] = await read.select({ n: count() }).from(targets)
    return row?.n ?? 0
  },

  async get(id: string): Promise<NetworkScanTargetRow | null> {
    return (await read.select().from(targets).where(eq(targets.id, id)))[0] ?? null
  },

  async insert(tx: Tx, row: NetworkScanTargetRow): Promise<void> {
    await tx.insert(targets).values(row)
  },

  /** null when there is no such target. Keys that are undefined keep their value. */
  async update(tx: Tx, id: string, patch: Partial<NetworkScanTargetRow>): Promise<NetworkScanTargetRow | null> {
    return (await tx.update(targets).set(patch).where(eq(targets.id, id)).returning())[0] ?? null
  },

  /** Whether there was one. Health checks that came from it stay, without it. */
  async remove(tx: Tx, id: string): Promise<boolean> {
    await tx.update(healthChecks).set({ networkScanTargetId: null }).where(eq(healthChecks.networkScanTargetId, id))
    return (await tx.delete(targets).where(eq(targets.id, id)).returning({ id: targets.id })).length > 0
  },
})

export type NetworkScanTargetStore = ReturnType<typeof networkScanTargetStore>
