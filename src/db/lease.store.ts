/**
 * Leases: which server runs which loop. Compare-and-set on one row per loop, judged by the database's clock, since those of
 * several servers differ. A lease that changed hands has a higher fence.
 */
import { and, eq, inArray, lt, or, type SQL, sql } from "drizzle-orm"
import type { Db } from "./db"

export interface Lease {
  readonly loop: string
  /** Grows with every change of holder. */
  readonly fence: number
}

export const leaseStore = ({ t, dialect, transaction }: Db) => {
  const now = (aheadMs = 0): SQL =>
    dialect === "postgres"
      ? sql`now() + ${aheadMs} * interval '1 millisecond'`
      : sql`cast(unixepoch('subsec') * 1000 as integer) + ${aheadMs}`

  return {
    /** Takes and renews what can be had; returns the leases that `holder` has for the next `ttlMs`. */
    hold: (loops: readonly string[], holder: string, ttlMs: number): Promise<Lease[]> =>
      transaction(async (tx) => {
        await tx
          .insert(t.leases)
          .values(loops.map((loop) => ({ loop, holder: "", expiresAt: new Date(0), fence: 0 })))
          .onConflictDoNothing()
        const renewed = await tx
          .update(t.leases)
          .set({
            expiresAt: now(ttlMs) as SQL<Date>,
            fence: sql`case when ${t.leases.holder} = ${holder} then ${t.leases.fence} else ${t.leases.fence} + 1 end`,
            holder,
          })
          .where(
            and(inArray(t.leases.loop, [...loops]), or(eq(t.leases.holder, holder), lt(t.leases.expiresAt, now()))),
          )
          .returning({ loop: t.leases.loop, fence: t.leases.fence })
        return renewed
      }),

    /** Lets others have them at once. */
    release: (holder: string): Promise<void> =>
      transaction(async (tx) => {
        await tx
          .update(t.leases)
          .set({ expiresAt: new Date(0) })
          .where(eq(t.leases.holder, holder))
      }),
  }
}

export type LeaseStore = ReturnType<typeof leaseStore>
