/** What a look at a watched endpoint makes of its check: the one table of its states. */
import type { HealthCheckRow, HealthStatus } from "./health-check.store"

/** The leaf that was served, or nothing. */
export type Look = { readonly ok: true; readonly fingerprint: string } | { readonly ok: false }

type Judged = Pick<
  HealthCheckRow,
  "status" | "consecutiveFailures" | "expectedFingerprint" | "degradedThreshold" | "downThreshold"
>

/**
 * The state after a look. An endpoint that answers is healthy, or serves another certificate than it should, from any state; one
 * that does not is degraded and then down by the number of failures in a row, this one included.
 */
export const afterLook = (check: Judged, look: Look): Pick<HealthCheckRow, "status" | "consecutiveFailures"> => {
  const { expectedFingerprint, degradedThreshold, downThreshold } = check
  if (look.ok) {
    const isExpected = expectedFingerprint === "" || expectedFingerprint === look.fingerprint
    return { status: isExpected ? "healthy" : "cert_mismatch", consecutiveFailures: 0 }
  }
  const consecutiveFailures = check.consecutiveFailures + 1
  if (consecutiveFailures >= downThreshold) return { status: "down", consecutiveFailures }
  if (consecutiveFailures >= degradedThreshold) return { status: "degraded", consecutiveFailures }
  // One failure is not news: what has not been judged yet counts as healthy.
  return { status: check.status === "unknown" ? "healthy" : check.status, consecutiveFailures }
}

/** Nothing is known any more: it watches another endpoint, or expects another certificate. */
export const notJudged = { status: "unknown", consecutiveFailures: 0 } as const

/** From any state to any other, and to `unknown` only by a change of the settings. */
export const canMove = (from: HealthStatus, to: HealthStatus): boolean => from !== to

/** Whether people are told: the first good look at an endpoint is no news. */
export const isNews = (from: HealthStatus, to: HealthStatus): boolean =>
  canMove(from, to) && to !== "unknown" && !(from === "unknown" && to === "healthy")
