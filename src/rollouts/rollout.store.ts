/** SQL of roll-outs. */
import { and, asc, eq, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot, hotInsertCount, hotUpdateCount } from "../db/hot"
import type { Tables } from "../db/tables/tables"

export type RolloutRow = Tables["rollouts"]["$inferSelect"]
type NewRollout = Tables["rollouts"]["$inferInsert"]

export const rolloutStore = ({ t, read, dialect }: Db) => {
  // Several times in each deployment.
  const byId = hot("rollout_by_id", (query: Query) =>
    query
      .select()
      .from(t.rollouts)
      .where(eq(t.rollouts.id, sql.placeholder("id"))),
  )
  const runningOfGiven = hot(null, (tx: Tx) =>
    tx
      .select()
      .from(t.rollouts)
      // In the words of the index of those that run.
      .where(and(inGiven(dialect, t.rollouts.certificateId, "ids"), sql`${t.rollouts.state} = 'running'`)),
  )
  const byIds = hot(null, (query: Query) =>
    query
      .select()
      .from(t.rollouts)
      .where(inGiven(dialect, t.rollouts.id, "ids")),
  )
  const insertRows = hotInsertCount("insert_rollouts", t.rollouts, t.rollouts.id)
  const finishRunning = hotUpdateCount(
    "finish_rollout",
    t.rollouts,
    and(eq(t.rollouts.id, sql.placeholder("id")), eq(t.rollouts.state, "running")),
    t.rollouts.id,
  )

  return {
    async get(query: Tx | Query, id: string): Promise<RolloutRow | null> {
      return (await byId(query, { id }))[0] ?? null
    },

    /** By id. */
    async getAll(query: Tx | Query, ids: readonly string[]): Promise<Map<string, RolloutRow>> {
      return new Map((await byIds(query, { ids: idList(ids) })).map((row) => [row.id, row]))
    },

    async running(tx: Tx, certificateId: string): Promise<RolloutRow | null> {
      const rows = await tx
        .select()
        .from(t.rollouts)
        .where(and(eq(t.rollouts.certificateId, certificateId), eq(t.rollouts.state, "running")))
      return rows[0] ?? null
    },

    /** Those under way, by certificate. */
    async runningOf(tx: Tx, certificateIds: readonly string[]): Promise<Map<string, RolloutRow>> {
      const rows = await runningOfGiven(tx, { ids: idList(certificateIds) })
      return new Map(rows.map((row) => [row.certificateId, row]))
    },

    /** How many were stored: not those of certificates of which another one is running. */
    async insertAll(tx: Tx, added: readonly NewRollout[]): Promise<number> {
      return await insertRows(tx, added)
    },

    /** False when it was no longer running. */
    async finish(tx: Tx, id: string, state: "halted" | "done", finishedAt: Date): Promise<boolean> {
      return (await finishRunning(tx, { state, finishedAt }, { id })) > 0
    },

    async setWaves(tx: Tx, id: string, waves: string[][]): Promise<void> {
      await tx.update(t.rollouts).set({ waves }).where(eq(t.rollouts.id, id))
    },

    /** Running ones, oldest first, for the pass that finds what nobody woke up. */
    stillRunning: (after: { createdAt: Date; id: string } | null, limit: number): Promise<RolloutRow[]> =>
      read
        .select()
        .from(t.rollouts)
        .where(
          and(
            // In the words of its index.
            sql`${t.rollouts.state} = 'running'`,
            after === null
              ? undefined
              : sql`(${t.rollouts.createdAt}, ${t.rollouts.id}) > (${sql.param(after.createdAt, t.rollouts.createdAt)}, ${after.id})`,
          ),
        )
        .orderBy(asc(t.rollouts.createdAt), asc(t.rollouts.id))
        .limit(limit),
  }
}

export type RolloutStore = ReturnType<typeof rolloutStore>
