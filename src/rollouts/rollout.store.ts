/** SQL of roll-outs. */
import { and, asc, eq } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type RolloutRow = Tables["rollouts"]["$inferSelect"]
export type NewRollout = Tables["rollouts"]["$inferInsert"]

export const rolloutStore = ({ t, read }: Db) => ({
  async get(tx: Tx | Query, id: string): Promise<RolloutRow | null> {
    return (await tx.select().from(t.rollouts).where(eq(t.rollouts.id, id)))[0] ?? null
  },

  async running(tx: Tx, certificateId: string): Promise<RolloutRow | null> {
    const rows = await tx
      .select()
      .from(t.rollouts)
      .where(and(eq(t.rollouts.certificateId, certificateId), eq(t.rollouts.state, "running")))
    return rows[0] ?? null
  },

  /** null when another one is running for the certificate. */
  async insert(tx: Tx, rollout: NewRollout): Promise<RolloutRow | null> {
    return (await tx.insert(t.rollouts).values(rollout).onConflictDoNothing().returning())[0] ?? null
  },

  /** False when it was no longer running. */
  async finish(tx: Tx, id: string, state: "halted" | "done", finishedAt: Date): Promise<boolean> {
    const changed = await tx
      .update(t.rollouts)
      .set({ state, finishedAt })
      .where(and(eq(t.rollouts.id, id), eq(t.rollouts.state, "running")))
      .returning({ id: t.rollouts.id })
    return changed.length > 0
  },

  async setWaves(tx: Tx, id: string, waves: string[][]): Promise<void> {
    await tx.update(t.rollouts).set({ waves }).where(eq(t.rollouts.id, id))
  },

  /** Running ones, oldest first, for the pass that finds what nobody woke up. */
  stillRunning: (limit: number) =>
    read
      .select({ id: t.rollouts.id, certificateId: t.rollouts.certificateId })
      .from(t.rollouts)
      .where(eq(t.rollouts.state, "running"))
      .orderBy(asc(t.rollouts.createdAt), asc(t.rollouts.id))
      .limit(limit),
})

export type RolloutStore = ReturnType<typeof rolloutStore>
