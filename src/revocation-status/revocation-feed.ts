/**
 * Tells what this server has cached of revocations, its own and those of other servers. A commit is heard of at once
 * through a signal; what a signal may miss is found by looking before an answer is given, at most every half second.
 */
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { RevocationStatusStore } from "./revocation.store"

/** Signalled by whoever stores revocations, in the same transaction. */
export const revocationTopic = "revocations"

const lookEveryMs = 500
/** A row carries the time of its transaction's start, and may become visible when that has ended. */
const overlapMs = 10_000
/** More newcomers than this, and whoever listens forgets everything instead. */
const mostTold = 2000

interface Deps {
  db: Pick<Db, "onSignal">
  revocations: Pick<RevocationStatusStore, "storedSince">
  clock: Clock
}

/** `null`: there were too many to be named. */
export type HearRevocation = (revoked: { readonly issuerId: string; readonly serial: string } | null) => void

export const revocationFeed = ({ db, revocations, clock }: Deps) => {
  const hearers: HearRevocation[] = []
  /** Told already, with the moment until which the look-back may find them again. */
  const told = new Map<string, number>()
  let lookedAt = clock.now().getTime()
  let isStale = false
  let looking: Promise<void> | null = null

  const look = async (): Promise<void> => {
    const now = clock.now().getTime()
    isStale = false
    const rows = await revocations.storedSince(new Date(lookedAt - overlapMs), mostTold + 1)
    if (rows.length > mostTold) for (const hear of hearers) hear(null)
    else {
      for (const { id, issuerId, serial } of rows) {
        if (told.has(id) || issuerId === null) continue
        told.set(id, now + 2 * overlapMs)
        for (const hear of hearers) hear({ issuerId, serial })
      }
    }
    for (const [id, until] of told) if (until < now) told.delete(id)
    lookedAt = now
  }

  const unsubscribe = db.onSignal(revocationTopic, () => {
    isStale = true
  })

  return {
    hear: (hearer: HearRevocation): void => void hearers.push(hearer),

    /** After this, whatever was committed half a second ago has been told. */
    settle(): Promise<void> | undefined {
      if (!isStale && Math.abs(clock.now().getTime() - lookedAt) < lookEveryMs) return
      looking ??= look().finally(() => {
        looking = null
      })
      return looking
    },

    close: unsubscribe,
  }
}

export type RevocationFeed = ReturnType<typeof revocationFeed>
