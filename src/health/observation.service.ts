/**
 * What is known of a certificate at a place is derived from what was seen there and how long ago; nothing sets it by hand,
 * and without a fresh observation it is unknown.
 */
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { NewObservation, ObservationStore } from "./observation.store"

/** How long an observation speaks for the present. */
export const freshMs = 26 * 3_600_000
/** Superseded observations are kept this long. */
const keptMs = 30 * 86_400_000

interface Deps {
  db: Pick<Db, "transaction">
  observations: ObservationStore
  clock: Clock
}

export const observationService = ({ db, observations, clock }: Deps) => ({
  record: (tx: Tx, seen: Omit<NewObservation, "id" | "observedAt">): Promise<void> =>
    observations.insert(tx, { ...seen, id: newId("obs-"), observedAt: clock.now() }),

  newest: observations.newest,
  lastSeenServing: observations.lastSeenServing,

  /** Thins what newer observations have replaced, in small steps so that nobody waits. */
  async thin(signal: AbortSignal): Promise<void> {
    const cutoff = new Date(clock.now().getTime() - keptMs)
    while (!signal.aborted) {
      const dropped = await db.transaction((tx) => observations.thin(tx, cutoff, 500))
      if (dropped < 500) return
    }
  },
})

export type ObservationService = ReturnType<typeof observationService>
