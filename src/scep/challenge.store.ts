/** SQL of the SCEP passwords that are good for one enrolment. */
import { and, eq, gt, isNotNull, isNull, lt, or } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type ChallengeRow = Tables["scepChallenges"]["$inferSelect"]

export const challengeStore = ({ t }: Db) => {
  const challenges = t.scepChallenges
  return {
    async insert(tx: Tx, row: ChallengeRow): Promise<void> {
      await tx.insert(challenges).values(row)
    },

    async dropExpired(tx: Tx, before: Date): Promise<void> {
      await tx.delete(challenges).where(lt(challenges.expiresAt, before))
    },

    /**
     * Uses a password up: its id, or null when there is none, it is of another path, was used before or has expired. One that
     * waits for the same CSR is good whenever that comes.
     */
    async spend(
      tx: Tx,
      { hash, pathId, csrHash }: { hash: string; pathId: string; csrHash: string },
      now: Date,
    ): Promise<string | null> {
      const isFresh = and(isNull(challenges.usedAt), gt(challenges.expiresAt, now))
      const [spent] = await tx
        .update(challenges)
        .set({ usedAt: now, waitingCsrHash: null })
        .where(
          and(
            eq(challenges.hash, hash),
            eq(challenges.pathId, pathId),
            or(isFresh, eq(challenges.waitingCsrHash, csrHash)),
          ),
        )
        .returning({ id: challenges.id })
      return spent?.id ?? null
    },

    async postpone(tx: Tx, id: string, csrHash: string): Promise<void> {
      await tx.update(challenges).set({ waitingCsrHash: csrHash }).where(eq(challenges.id, id))
    },

    async release(tx: Tx, id: string): Promise<void> {
      await tx
        .update(challenges)
        .set({ usedAt: null })
        .where(and(eq(challenges.id, id), isNotNull(challenges.usedAt)))
    },
  }
}

export type ChallengeStore = ReturnType<typeof challengeStore>
