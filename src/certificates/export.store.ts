/** SQL of exports: how many an actor has taken. */
import { lt, lte, or, sql } from "drizzle-orm"
import type { Db, Tx } from "../db/db"

export const exportStore = ({ t }: Db) => {
  const { allowances } = t
  return {
    /**
     * Takes one of `limit` that `name` may have within a time that begins with the first one. False when all are gone. One
     * statement, so that no two servers give the last one away twice.
     */
    async take(tx: Tx, name: string, limit: number, now: Date, windowStart: Date): Promise<boolean> {
      const isOver = lte(allowances.since, windowStart)
      const taken = await tx
        .insert(allowances)
        .values({ name, since: now, used: 1 })
        .onConflictDoUpdate({
          target: allowances.name,
          set: {
            used: sql`case when ${isOver} then 1 else ${allowances.used} + 1 end`,
            since: sql`case when ${isOver} then ${sql.param(now, allowances.since)} else ${allowances.since} end`,
          },
          setWhere: or(isOver, lt(allowances.used, limit)),
        })
        .returning({ used: allowances.used })
      return taken.length > 0
    },
  }
}

export type ExportStore = ReturnType<typeof exportStore>
