/** Nonces against replays (RFC 8555 section 6.5). They are in the database, so that every server takes those of the others. */
import { randomBytes } from "node:crypto"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { NonceStore } from "./nonce.store"

interface Deps {
  db: Pick<Db, "transaction">
  nonces: NonceStore
  clock: Clock
  ttlMs: number
}

const batch = 5000

export const nonceService = ({ db, nonces, clock, ttlMs }: Deps) => ({
  async issue(): Promise<string> {
    const nonce = randomBytes(32).toString("base64url")
    const issuedAt = clock.now()
    const expiresAt = new Date(issuedAt.getTime() + ttlMs)
    await db.transaction((tx) => nonces.insert(tx, { nonce, issuedAt, expiresAt }))
    return nonce
  },

  /** Uses a nonce up: false when it was never given, was used before or has expired. */
  spend: (nonce: string): Promise<boolean> => db.transaction((tx) => nonces.spend(tx, nonce, clock.now())),

  async sweep(signal: AbortSignal): Promise<void> {
    for (let dropped = batch; dropped === batch && !signal.aborted; ) {
      dropped = await db.transaction((tx) => nonces.dropExpired(tx, clock.now(), batch))
    }
  },
})

export type NonceService = ReturnType<typeof nonceService>
