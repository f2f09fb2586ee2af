/**
 * Gives every audit event a place in one gap-free order. Writers cannot number events themselves: transactions commit in another
 * order than they begin, and one that rolls back would leave a gap. One process at a time runs this (a lease); should two overlap,
 * the number that both want lets only one of them commit.
 */
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { leafHash } from "./leaf"
import type { LeafStore } from "./leaf.store"

/** Heard after new events were sealed; the payload is the highest number. */
export const sealedTopic = "sealed"

/** Far more than a transaction may take (seconds) plus what clocks of several servers differ. */
const windowMs = 300_000
const mostPerBatch = 1000

interface Deps {
  readonly db: Pick<Db, "transaction" | "signal">
  readonly leaves: Pick<LeafStore, "lastIn" | "unsealedIn" | "insert">
  readonly clock: Clock
}

export const sealingService = ({ db, leaves, clock }: Deps) => {
  const sealBatch = (everything: boolean): Promise<number> =>
    db.transaction(async (tx) => {
      const last = await leaves.lastIn(tx)
      // An event from a clock that was ahead must not move the window into the future.
      const newest = Math.min(last?.timestamp.getTime() ?? 0, clock.now().getTime())
      const since = everything || last === null ? null : new Date(newest - windowMs)
      const events = await leaves.unsealedIn(tx, since, mostPerBatch)
      if (events.length === 0) return 0
      const first = (last?.seq ?? 0) + 1
      await leaves.insert(
        tx,
        events.map((event, index) => ({ seq: first + index, eventId: event.id, leafHash: leafHash(event) })),
      )
      db.signal(tx, sealedTopic, String(first + events.length - 1))
      return events.length
    })

  return {
    /**
     * Seals what is unsealed, a batch per transaction; returns how many events.
     * `everything` looks at all events instead of the last minutes': do so when the lease is taken, since the former holder may
     * have been away for longer.
     */
    async seal({ everything = false, signal }: { everything?: boolean; signal?: AbortSignal } = {}): Promise<number> {
      let total = 0
      for (;;) {
        const sealed = await sealBatch(everything)
        total += sealed
        if (sealed < mostPerBatch || signal?.aborted === true) return total
      }
    },
  }
}

export type SealingService = ReturnType<typeof sealingService>
