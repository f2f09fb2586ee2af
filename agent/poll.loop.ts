/** Asks the server for work and has it done, many jobs at a time. */
import type { Logger } from "@logtape/logtape"
import { maxHoldingJobs } from "../src/agents/agent-protocol.schema"
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
  /** Jobs that are done and of which the server has yet to hear. */
  undelivered(): readonly string[]
  /** Called after every answer: the server is there. */
  onAnswer(): void
  /** Whether the job ended well. Must not throw. */
  run(work: Work): Promise<boolean>
}

/** A server that held one answer holds the next as well; an early empty one is then a restart or a rotated listener. */
const soonMs = 1000

/**
 * With more in hand no work is asked for: one answer may bring about as many again, and all of them have to fit into what a poll
 * can say it holds. What it does not say would be handed out a second time.
 */
const mostInHand = maxHoldingJobs / 2

/**
 * Asks and begins what it is given, without waiting for it to end, until the signal fires or the server says that this agent was
 * retired; then waits for the jobs in hand.
 */
export const pollLoop = async (deps: PollLoopDeps, signal: AbortSignal): Promise<"stopped" | "retired"> => {
  const { client, failures, pollMs, waitSeconds, log, run } = deps
  const inHand = new Map<string, Promise<void>>()
  /** When a job was last begun. What comes again soon is no news, and no reason to hurry. */
  const begunAt = new Map<string, number>()
  let doesServerHold = false
  let earlyAnswers = 0
  /** The jobs that waited to be reported when the server last answered at once. */
  let undeliveredThen = ""
  /** A job has ended that may have brought new work about. */
  let follow = new AbortController()

  const begin = (work: Work, isNews: boolean): void => {
    log.debug("job {jobId}: {type} {status}", { jobId: work.id, type: work.type, status: work.status })
    begunAt.set(work.id, performance.now())
    inHand.set(
      work.id,
      run(work).then((isWell) => {
        inHand.delete(work.id)
        if (isWell && isNews) follow.abort()
      }),
    )
  }
  const rest = async (milliseconds: number): Promise<void> => {
    await pause(milliseconds, AbortSignal.any([signal, follow.signal]))
    if (follow.signal.aborted) follow = new AbortController()
  }

  let end: "stopped" | "retired" = "stopped"
  while (!signal.aborted) {
    await backOff(deps, signal)
    while (inHand.size > mostInHand && !signal.aborted) await Promise.race(inHand.values())
    if (signal.aborted) break
    const asked = performance.now()
    const undelivered = deps.undelivered()
    // An answer tells that the server is there to hear what waits: one that is held for long must not keep it waiting.
    const asksAtOnce = undelivered.length > 0 && undelivered.join() !== undeliveredThen
    undeliveredThen = undelivered.join()
    let jobs: readonly Work[]
    try {
      const holding = new Set([...inHand.keys(), ...undelivered])
      jobs = await client.work(asksAtOnce ? 0 : waitSeconds, [...holding], signal)
      failures.inARow = 0
    } catch (error) {
      undeliveredThen = ""
      if (signal.aborted) break
      if (error instanceof AppError && error.code === "gone") {
        end = "retired"
        break
      }
      log.warn("work poll failed ({failures} in a row): {error}", {
        failures: countFailure(failures, error),
        error: messageOf(error),
      })
      continue
    }
    // What came with an answer after the end was asked for is not begun: the server hands it out again to the next process.
    if (signal.aborted) break
    deps.onAnswer()

    // Servers that do not know what is held offer it again.
    const offered = jobs.filter(({ id }) => !inHand.has(id))
    if (offered.length > 0) {
      for (const [id, at] of begunAt) if (asked - at > pollMs) begunAt.delete(id)
      const news = new Set(offered.filter(({ id }) => !begunAt.has(id)))
      for (const work of offered) begin(work, news.has(work))
      earlyAnswers = 0
      if (news.size === 0) await rest(pollMs)
      continue
    }

    if (asksAtOnce) continue
    const heldMs = performance.now() - asked
    // Some slack: the time is the server's, and its clock may run a little faster.
    if (heldMs >= waitSeconds * 1000 * 0.8) {
      doesServerHold = true
      earlyAnswers = 0
      continue
    }
    earlyAnswers++
    await rest(doesServerHold && earlyAnswers === 1 ? Math.min(soonMs, pollMs) : pollMs - heldMs)
  }
  await Promise.all(inHand.values())
  return end
}

const backOff = ({ server, failures, backoffUnitMs }: PollLoopDeps, signal: AbortSignal): Promise<void> => {
  const { inARow, isServerAway } = failures
  const limitMs = backoffMs(inARow, backoffUnitMs)
  return isServerAway && inARow > 0
    ? pauseWhileAway({ server, failures: inARow, limitMs, lookMs: backoffUnitMs / 30 }, signal)
    : pause(limitMs, signal)
}
