/** SQL of network scan targets. */
import { count, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"

export type NetworkScanTargetRow = Tables["networkScanTargets"]["$inferSelect"]

export const networkScanTargetStore = ({ t: { networkScanTargets: targets, healthChecks }, read }: Db) => {
  const listed = listing({ id: targets.id, time: targets.createdAt, text: [targets.id, targets.name, targets.cidrs] })

  return {
    /** Newest first. */
    list: ({ search }: TextFilter, slice: Slice) =>
      listed.read(read.select().from(targets), listed.matches(search), slice),

    async total({ search }: TextFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(targets).where(listed.matches(search))
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
  }
}

export type NetworkScanTargetStore = ReturnType<typeof networkScanTargetStore>
