/** SQL of the keys and certificates that sign OCSP answers. */
import { and, eq } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type ResponderRow = Tables["ocspResponders"]["$inferSelect"]

export const responderStore = ({ t, read }: Db) => {
  const responders = t.ocspResponders
  const key = (issuerId: string, caSki: string) => and(eq(responders.issuerId, issuerId), eq(responders.caSki, caSki))
  return {
    async get(issuerId: string, caSki: string): Promise<ResponderRow | null> {
      return (await read.select().from(responders).where(key(issuerId, caSki)))[0] ?? null
    },

    /** False when another server was faster. */
    async insert(tx: Tx, row: ResponderRow): Promise<boolean> {
      const made = await tx.insert(responders).values(row).onConflictDoNothing().returning({ id: responders.caSki })
      return made.length > 0
    },

    /** Replaces the certificate with serial `former`; false when it is not the current one any more. */
    async replace(tx: Tx, row: ResponderRow, former: string): Promise<boolean> {
      const { createdAt: _, ...change } = row
      const changed = await tx
        .update(responders)
        .set(change)
        .where(and(key(row.issuerId, row.caSki), eq(responders.certSerial, former)))
        .returning({ id: responders.caSki })
      return changed.length > 0
    },
  }
}

export type ResponderStore = ReturnType<typeof responderStore>
