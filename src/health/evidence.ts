/** What one kind of observation says about a certificate at a place, by what should be there and by its age. */
import type { ObservationService } from "./observation.service"
import { freshMs } from "./observation.service"

export type Observation = Awaited<ReturnType<ObservationService["newest"]>>[number]

/**
 * `confirmed` fresh and right, `stale` right but old, `outdated` an earlier version of the same certificate, `mismatch` something
 * else, `missing` nothing was seen.
 */
export type EvidenceState = "confirmed" | "stale" | "outdated" | "mismatch" | "missing"

export interface Evidence {
  readonly state: EvidenceState
  /** When that was seen; null where nothing was. */
  readonly observedAt: Date | null
  /** Who looked: an agent's id or the name of a key. */
  readonly observer: string
  /** What was wrong; empty when nothing was. */
  readonly detail: string
}

const nothingSeen: Evidence = { state: "missing", observedAt: null, observer: "", detail: "" }

/**
 * @param newest the newest observation of the kind; undefined: nobody ever looked
 * @param expected fingerprint of the version that should be there; null: nothing was issued for the place
 * @param earlier fingerprints of former versions of the same certificate
 */
export const evidenceOf = (
  newest: Pick<Observation, "fingerprint" | "ok" | "detail" | "observer" | "observedAt"> | undefined,
  expected: string | null,
  earlier: ReadonlySet<string>,
  now: Date,
): Evidence => {
  if (newest === undefined || expected === null) return nothingSeen
  const { fingerprint, ok, detail, observer, observedAt } = newest
  // A failed deployment or an endpoint that did not answer says nothing about what is in place.
  if (fingerprint === "") return { ...nothingSeen, observer, detail }
  if (fingerprint !== expected) {
    return earlier.has(fingerprint)
      ? { state: "outdated", observedAt, observer, detail: "An earlier version of this certificate is in place." }
      : { state: "mismatch", observedAt, observer, detail }
  }
  if (!ok) return { state: "mismatch", observedAt, observer, detail }
  const isFresh = now.getTime() - observedAt.getTime() <= freshMs
  return { state: isFresh ? "confirmed" : "stale", observedAt, observer, detail }
}
