/** SQL of the outbox: effects owed after a commit, until somebody has had them. */
import { and, asc, eq, gt, inArray, isNull, lt, lte } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type OutboxRow = Tables["outbox"]["$inferSelect"]

/** Rows per INSERT: nine parameters each, far below SQLite's 32,766. */
const chunk = 500

export const outboxStore = ({ t, read, skipLocked }: Db) => {
  const { outbox } = t
  const isDue = (now: Date) => and(isNull(outbox.doneAt), lte(outbox.nextAt, now))
  /** As it was claimed: nobody else has taken it over since. */
  const isOurs = (row: OutboxRow) =>
    and(eq(outbox.id, row.id), eq(outbox.attempts, row.attempts), isNull(outbox.doneAt))

  return {
    async insert(tx: Tx, rows: readonly OutboxRow[]): Promise<void> {
      for (let from = 0; from < rows.length; from += chunk) {
        await tx.insert(outbox).values(rows.slice(from, from + chunk))
      }
    },

    /** Lanes with something due. Steps from lane to lane: however many rows wait in one, it is one look at the index. */
    async dueLanes(now: Date): Promise<string[]> {
      const due: string[] = []
      for (let after = ""; ; ) {
        const [row] = await read
          .select({ lane: outbox.lane, nextAt: outbox.nextAt })
          .from(outbox)
          .where(and(isNull(outbox.doneAt), gt(outbox.lane, after)))
          .orderBy(asc(outbox.lane), asc(outbox.nextAt))
          .limit(1)
        if (row === undefined) return due
        if (row.nextAt <= now) due.push(row.lane)
        after = row.lane
      }
    },

    /** Takes the longest due row of a lane, so that nobody else does before `until`; null when there is none. */
    async claim(tx: Tx, lane: string, now: Date, until: Date): Promise<OutboxRow | null> {
      const rows = tx
        .select()
        .from(outbox)
        .where(and(eq(outbox.lane, lane), isDue(now)))
        .orderBy(asc(outbox.nextAt), asc(outbox.id))
        .limit(1)
      const [due] = await skipLocked(rows)
      if (due === undefined) return null
      const claimed = await tx
        .update(outbox)
        .set({ attempts: due.attempts + 1, nextAt: until })
        .where(isOurs(due))
        .returning()
      return claimed[0] ?? null
    },

    /** False when the claim has lapsed and somebody else has the row. */
    async settle(
      tx: Tx,
      claimed: OutboxRow,
      outcome: { doneAt: Date; lastError: null } | { nextAt: Date; lastError: string },
    ): Promise<boolean> {
      const settled = await tx.update(outbox).set(outcome).where(isOurs(claimed)).returning({ id: outbox.id })
      return settled.length > 0
    },

    /** Drops what was done before `cutoff`. Returns how many. */
    async thin(tx: Tx, cutoff: Date, limit: number): Promise<number> {
      const old = await tx.select({ id: outbox.id }).from(outbox).where(lt(outbox.doneAt, cutoff)).limit(limit)
      if (old.length === 0) return 0
      await tx.delete(outbox).where(
        inArray(
          outbox.id,
          old.map((row) => row.id),
        ),
      )
      return old.length
    },
  }
}

export type OutboxStore = ReturnType<typeof outboxStore>
