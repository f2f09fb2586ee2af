/** SQL of the keys and certificates that SCEP clients encrypt their requests to. */
import { and, desc, eq, gt, lte } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

export type RegistrationAuthorityRow = Tables["scepRegistrationAuthorities"]["$inferSelect"]

export const registrationAuthorityStore = ({ t, read }: Db) => {
  const ras = t.scepRegistrationAuthorities
  const isCurrent = (issuerId: string) => and(eq(ras.issuerId, issuerId), eq(ras.state, "current"))
  return {
    async current(issuerId: string): Promise<RegistrationAuthorityRow | null> {
      return (await read.select().from(ras).where(isCurrent(issuerId)))[0] ?? null
    },

    /** Those that have not expired, the newest first. */
    unexpired: (issuerId: string, now: Date): Promise<RegistrationAuthorityRow[]> =>
      read
        .select()
        .from(ras)
        .where(and(eq(ras.issuerId, issuerId), gt(ras.notAfter, now)))
        .orderBy(desc(ras.createdAt), desc(ras.certSerial)),

    /** Puts a new one in the place of the one with serial `former`, null for none. False when another server was faster. */
    async replace(tx: Tx, row: RegistrationAuthorityRow, former: string | null): Promise<boolean> {
      if (former !== null) {
        const retired = await tx
          .update(ras)
          .set({ state: "former" })
          .where(and(isCurrent(row.issuerId), eq(ras.certSerial, former)))
          .returning({ serial: ras.certSerial })
        if (retired.length === 0) return false
      }
      const made = await tx.insert(ras).values(row).onConflictDoNothing().returning({ serial: ras.certSerial })
      return made.length > 0
    },

    /** Nobody can use an expired one any more, and its key is better gone. */
    async dropExpired(tx: Tx, issuerId: string, now: Date): Promise<void> {
      await tx.delete(ras).where(and(eq(ras.issuerId, issuerId), eq(ras.state, "former"), lte(ras.notAfter, now)))
    },
  }
}

export type RegistrationAuthorityStore = ReturnType<typeof registrationAuthorityStore>
