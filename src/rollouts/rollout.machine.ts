/**
 * How a roll-out goes on. One issuance run that goes to several targets does so in ordered waves: a wave starts when every
 * target of the wave before was deployed and verified, and the roll-out halts when one of them cannot be. Pure, so that
 * every order of events can be tried in tests.
 */
import { isIssuing, isOpen, mayRetry } from "../jobs/job.machine"
import type { JobRow } from "../jobs/job.store"
import type { RolloutRow } from "./rollout.store"

export type RolloutState = RolloutRow["state"]

const moves: Readonly<Record<RolloutState, readonly RolloutState[]>> = {
  running: ["halted", "done"],
  halted: [],
  done: [],
}

export const canMove = (from: RolloutState, to: RolloutState): boolean => moves[from].includes(to)

/** How long a completed deployment may stay unverified before the next wave is given up. */
export const verificationPatienceMs = 10 * 60_000

export type RolloutJob = Pick<
  JobRow,
  | "id"
  | "type"
  | "status"
  | "agentId"
  | "targetId"
  | "attempts"
  | "maxAttempts"
  | "verificationStatus"
  | "completedAt"
  | "lastError"
>

export interface RolloutView {
  /** Target ids per wave. */
  readonly waves: readonly (readonly string[])[]
  /** Every job of the roll-out, oldest first. */
  readonly jobs: readonly RolloutJob[]
  /** The targets the certificate goes to at present, with the agent that serves each. */
  readonly places: ReadonlyMap<string, { readonly agentId: string; readonly isAgentOnline: boolean }>
  readonly now: Date
}

export type RolloutStep =
  /** Jobs of this wave may run, those of later ones wait. */
  | { readonly kind: "wait"; readonly wave: number }
  | { readonly kind: "halt"; readonly wave: number; readonly reason: string }
  | { readonly kind: "done" }

type PlaceState = { readonly kind: "good" } | { readonly kind: "waiting" } | { kind: "failed"; reason: string }

const good: PlaceState = { kind: "good" }
const waiting: PlaceState = { kind: "waiting" }
const failed = (reason: string): PlaceState => ({ kind: "failed", reason })

/** What became of the newest thing done for one target. */
const stateOf = (targetId: string, agentId: string, isLastWave: boolean, { jobs, now }: RolloutView): PlaceState => {
  const newest = jobs.findLast((job) =>
    // What still waits for approval is not under way: until somebody decides, the run before it goes on.
    isIssuing(job.type)
      ? job.status !== "AwaitingApproval" && (job.agentId === agentId || job.agentId === null)
      : job.targetId === targetId,
  )
  if (newest === undefined) return good
  if (isOpen(newest.status) || mayRetry(newest)) return waiting
  if (newest.status === "Failed" || newest.status === "Cancelled") {
    const what = isIssuing(newest.type) ? "issuance for" : "deployment to"
    return failed(`${what} ${targetId} ${newest.status === "Failed" ? "failed" : "was cancelled"}: ${newest.lastError}`)
  }
  if (isIssuing(newest.type) || isLastWave) return good
  switch (newest.verificationStatus) {
    case "success":
    case "skipped":
      return good
    case "failed":
      return failed(`${targetId} does not serve the new certificate`)
    case "pending": {
      const since = newest.completedAt ?? now
      return now.getTime() - since.getTime() > verificationPatienceMs
        ? failed(`${targetId} was not verified within ${verificationPatienceMs / 60_000} minutes`)
        : waiting
    }
  }
}

/** The targets of a wave; those that were mapped since the waves were planned go with the last. */
const targetsOf = (wave: number, { waves, places }: RolloutView): readonly string[] => {
  const planned = waves[wave] ?? []
  if (wave < waves.length - 1) return planned
  const all = new Set(waves.flat())
  return [...planned, ...[...places.keys()].filter((targetId) => !all.has(targetId))]
}

/** Decides what a roll-out does next. */
export const nextStep = (view: RolloutView): RolloutStep => {
  const lastWave = Math.max(view.waves.length - 1, 0)
  for (let wave = 0; wave <= lastWave; wave += 1) {
    let isWaiting = false
    for (const targetId of targetsOf(wave, view)) {
      const place = view.places.get(targetId)
      // No longer served by this certificate: nothing to wait for.
      if (place === undefined) continue
      const state = stateOf(targetId, place.agentId, wave === lastWave, view)
      // The others must not run out of time because an agent is away.
      if (state.kind === "waiting" && !place.isAgentOnline && wave < lastWave) continue
      // In the last wave a failure holds up nobody; the others go on, and the job itself tells what happened.
      if (state.kind === "failed" && wave < lastWave) return { kind: "halt", wave, reason: state.reason }
      if (state.kind === "waiting") isWaiting = true
    }
    if (isWaiting) return { kind: "wait", wave }
  }
  // An issuance without any target yet keeps the run open.
  if (view.jobs.some((job) => isIssuing(job.type) && (isOpen(job.status) || mayRetry(job)))) {
    return { kind: "wait", wave: lastWave }
  }
  return { kind: "done" }
}

/** The wave a target belongs to; one that joined later goes with the last. */
export const waveOf = (waves: readonly (readonly string[])[], targetId: string): number => {
  const wave = waves.findIndex((targetIds) => targetIds.includes(targetId))
  return wave === -1 ? Math.max(waves.length - 1, 0) : wave
}
