/**
 * What is known of a certificate at a place is derived from what was seen there and how long ago; nothing sets it by hand,
 * and without a fresh observation it is unknown.
 */
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { NewObservation, ObservationRow, ObservationStore } from "./observation.store"

/** How long an observation speaks for the present. */
export const freshMs = 26 * 3_600_000
/** Superseded observations are kept this long. */
const keptMs = 30 * 86_400_000

export type ObservationKind = ObservationRow["kind"]

/** `verified`: seen on the wire. `delivered`: read back by the agent, not seen on the wire. `stale`: seen too long ago. */
export type PlaceState = "verified" | "delivered" | "mismatch" | "failed" | "stale" | "unknown"

export interface PlaceView {
  readonly state: PlaceState
  /** When the deciding observation was made. */
  readonly observedAt: Date | null
  readonly detail: string
  readonly fingerprint: string
}

const unknown: PlaceView = { state: "unknown", observedAt: null, detail: "", fingerprint: "" }

/**
 * The state of one place from the newest observation of each kind.
 * @param expected fingerprint that should be there; null: nothing was issued for the place yet
 */
export const placeView = (
  newest: readonly Pick<ObservationRow, "kind" | "fingerprint" | "ok" | "detail" | "observedAt">[],
  expected: string | null,
  now: Date,
): PlaceView => {
  const of = (kind: ObservationKind) => newest.find((observation) => observation.kind === kind)
  const served = of("served")
  const delivered = of("delivered")
  // An agent looks at the wire before it reports the deployment as done, so the proof on the wire is a little older than the
  // delivery it belongs to. Anything else seen on the wire before the last delivery says nothing about it.
  const isProof = served?.ok === true && served.fingerprint === expected
  const isLater = served !== undefined && (delivered === undefined || served.observedAt >= delivered.observedAt)
  const isContradicted = delivered?.ok === true && delivered.fingerprint !== expected && !isLater
  const deciding = (isProof && !isContradicted) || isLater ? served : delivered
  if (deciding === undefined || expected === null) return unknown
  const facts = { observedAt: deciding.observedAt, detail: deciding.detail, fingerprint: deciding.fingerprint }
  if (deciding.fingerprint !== "" && deciding.fingerprint !== expected) return { state: "mismatch", ...facts }
  if (!deciding.ok) return { state: "failed", ...facts }
  if (now.getTime() - deciding.observedAt.getTime() > freshMs) return { state: "stale", ...facts }
  return { state: deciding.kind === "served" ? "verified" : "delivered", ...facts }
}

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
