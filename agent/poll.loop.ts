/** Asks the server for work and does it, job after job. */
import type { Logger } from "@logtape/logtape"
import type { AgentClient, Work } from "../src/client/agent-client"
import { isConnectionLost } from "../src/client/http-transport"
import { AppError, messageOf } from "../src/errors"
import { pauseWhileAway } from "./server-watch"
import { backoffMs, pause } from "./waiting"

/** Failed calls in a row, of heartbeat and poll together; a success of either sets it to 0. */
export interface FailureCount {
  inARow: number
  /** The last of them found no server. */
  isServerAway: boolean
}

/** Counts a failed call and returns how many there were in a row. */
export const countFailure = (failures: FailureCount, error: unknown): number => {
  failures.isServerAway = isConnectionLost(error)
  return ++failures.inARow
}

export interface PollLoopDeps {
  /** Base URL, to look whether the server is back. */
  readonly server: string
  readonly client: Pick<AgentClient, "work">
  readonly failures: FailureCount
  readonly pollMs: number
  readonly backoffUnitMs: number
  /** How long the server is asked to hold an empty answer. */
  readonly waitSeconds: number
  readonly log: Logger
  /** Ids of the jobs in hand. The loop adds and removes them. */
  readonly holding: Set<string>
  /** Whether the job ended well. Must not throw. */
  run(work: Work): Promise<boolean>
}

/** A server that held one answer holds the next as well; an early empty one is then a restart or a rotated listener. */
const soonMs = 1000

/** Runs until the signal fires or the server says that this agent was retired. */
export const pollLoop = async (deps: PollLoopDeps, signal: AbortSignal): Promise<"stopped" | "retired"> => {
  const { client, failures, pollMs, waitSeconds, log, holding } = deps
  let doesServerHold = false
  let earlyAnswers = 0
  let lastRound = new Set<string>()

  while (!signal.aborted) {
    await backOff(deps, signal)
    if (signal.aborted) break
    const asked = performance.now()
    let jobs: readonly Work[]
    try {
      jobs = await client.work(waitSeconds, [...holding], signal)
      failures.inARow = 0
    } catch (error) {
      if (signal.aborted) break
      if (error instanceof AppError && error.code === "gone") return "retired"
      log.warn("work poll failed ({failures} in a row): {error}", {
        failures: countFailure(failures, error),
        error: messageOf(error),
      })
      continue
    }

    if (jobs.length > 0) {
      const round = new Set(jobs.map(({ id }) => id))
      const allWell = await runAll(deps, jobs, signal)
      // The same jobs again, or one that failed and may be offered again at once: no reason to hurry.
      const isNews = [...round].some((id) => !lastRound.has(id))
      lastRound = round
      earlyAnswers = 0
      if (!allWell || !isNews) await pause(pollMs, signal)
      continue
    }

    lastRound = new Set()
    const heldMs = performance.now() - asked
    // Some slack: the time is the server's, and its clock may run a little faster.
    if (heldMs >= waitSeconds * 1000 * 0.8) {
      doesServerHold = true
      earlyAnswers = 0
      continue
    }
    earlyAnswers++
    await pause(doesServerHold && earlyAnswers === 1 ? Math.min(soonMs, pollMs) : pollMs - heldMs, signal)
  }
  return "stopped"
}

const backOff = ({ server, failures, backoffUnitMs }: PollLoopDeps, signal: AbortSignal): Promise<void> => {
  const { inARow, isServerAway } = failures
  const limitMs = backoffMs(inARow, backoffUnitMs)
  return isServerAway && inARow > 0
    ? pauseWhileAway({ server, failures: inARow, limitMs, lookMs: backoffUnitMs / 30 }, signal)
    : pause(limitMs, signal)
}

const runAll = async (
  { holding, run, log }: PollLoopDeps,
  jobs: readonly Work[],
  signal: AbortSignal,
): Promise<boolean> => {
  for (const { id } of jobs) holding.add(id)
  let allWell = true
  for (const work of jobs) {
    // What is not begun is not in hand: the server hands it out again to the next process.
    if (!signal.aborted) {
      log.debug("job {jobId}: {type} {status}", { jobId: work.id, type: work.type, status: work.status })
      allWell = (await run(work)) && allWell
    }
    holding.delete(work.id)
  }
  return allWell
}
