/** SQL of the nonces that clients hold. A used one is gone, so that nothing tells it from one that never was. */
import { and, eq, gt, inArray, lte } from "drizzle-orm"
import type { Db, Tx } from "../db/db"

export const nonceStore = ({ t }: Db) => {
  const nonces = t.acmeNonces
  return {
    async insert(tx: Tx, row: typeof nonces.$inferInsert): Promise<void> {
      await tx.insert(nonces).values(row)
    },

    /** False when there is none, it has expired or somebody else was first. */
    async spend(tx: Tx, nonce: string, now: Date): Promise<boolean> {
      const spent = await tx
        .delete(nonces)
        .where(and(eq(nonces.nonce, nonce), gt(nonces.expiresAt, now)))
        .returning({ nonce: nonces.nonce })
      return spent.length > 0
    },

    /** Returns how many there were. */
    async dropExpired(tx: Tx, now: Date, limit: number): Promise<number> {
      const expired = tx.select({ nonce: nonces.nonce }).from(nonces).where(lte(nonces.expiresAt, now)).limit(limit)
      return (await tx.delete(nonces).where(inArray(nonces.nonce, expired)).returning({ nonce: nonces.nonce })).length
    },
  }
}

export type NonceStore = ReturnType<typeof nonceStore>
