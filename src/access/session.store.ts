/** Sessions of the console: found by the hash of the cookie's value, tied to the hash of the key that opened them. */
import { and, eq, gt, lt, or } from "drizzle-orm"
import type { Db, Tx } from "../db/db"

export interface Session {
  readonly idHash: string
  /** Row of the key; null for a key of the environment. */
  readonly apiKeyId: string | null
  readonly keyHash: string
  readonly createdAt: Date
  readonly lastSeenAt: Date
  readonly expiresAt: Date
}

export const sessionStore = ({ t, read }: Pick<Db, "t" | "read">) => ({
  async insert(tx: Tx, session: Session): Promise<void> {
    await tx.insert(t.sessions).values(session)
  },
  /** Only a session that has neither expired nor been idle since `seenAfter`. */
  async findLive(idHash: string, now: Date, seenAfter: Date): Promise<Session | null> {
    const [row] = await read
      .select()
      .from(t.sessions)
      .where(and(eq(t.sessions.idHash, idHash), gt(t.sessions.expiresAt, now), gt(t.sessions.lastSeenAt, seenAfter)))
    return row ?? null
  },
  async touch(tx: Tx, idHash: string, at: Date): Promise<void> {
    await tx
      .update(t.sessions)
      .set({ lastSeenAt: at })
      .where(and(eq(t.sessions.idHash, idHash), lt(t.sessions.lastSeenAt, at)))
  },
  /** False: there was none. */
  async delete(tx: Tx, idHash: string): Promise<boolean> {
    const gone = await tx
      .delete(t.sessions)
      .where(eq(t.sessions.idHash, idHash))
      .returning({ idHash: t.sessions.idHash })
    return gone.length > 0
  },
  /** Ends every session that a key opened. */
  async deleteOfKey(tx: Tx, keyHash: string): Promise<void> {
    await tx.delete(t.sessions).where(eq(t.sessions.keyHash, keyHash))
  },
  async deleteDead(tx: Tx, now: Date, seenBefore: Date): Promise<void> {
    await tx.delete(t.sessions).where(or(lt(t.sessions.expiresAt, now), lt(t.sessions.lastSeenAt, seenBefore)))
  },
})

export type SessionStore = ReturnType<typeof sessionStore>
