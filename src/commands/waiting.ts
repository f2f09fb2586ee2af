/** Follows jobs to their end for `--wait`, and says on stderr what happens meanwhile. */
import { type Command, Option } from "commander"
import type { InferResponseType } from "hono/client"
import { type Clock, systemClock } from "../clock"
import { AppError } from "../errors"
import type { ApiClient } from "./api"
import { durationArgument, type Session } from "./cli"
import { note, printable } from "./output"

export type Job = InferResponseType<ApiClient["jobs"][":id"]["$get"]>

const defaultWaitMs = 600_000
const longestPauseMs = 2000

export interface WaitFlags {
  readonly wait?: true
  /** Milliseconds. */
  readonly timeout: number
}

export const withWait = (command: Command, description: string): Command =>
  command
    .option("--wait", description)
    .addOption(
      new Option("--timeout <duration>", "how long to wait").argParser(durationArgument).default(defaultWaitMs, "10m"),
    )

const isOver = ({ status }: Job): boolean => status === "Completed" || status === "Failed" || status === "Cancelled"

const described = (job: Job): string => {
  const place = job.target_id === undefined ? "" : ` to ${job.target_id}`
  const why = job.last_error ?? job.hold
  return printable(`${job.type} ${job.id}${place}: ${job.status}${why === undefined ? "" : ` (${why})`}`)
}

/** One sentence about a job that is over. */
export const outcomeOf = (job: Job): string => {
  const retried = job.status === "Failed" && job.attempts < job.max_attempts
  return `${described(job)}${retried ? `; attempt ${job.attempts} of ${job.max_attempts}, it is tried again by itself` : ""}`
}

/** Calls `look` until it is over. It asks quickly at first: what an agent waits for takes about a second. */
const repeatedly = async <R>(
  look: () => Promise<{ jobs: readonly Job[]; result: R | null }>,
  timeoutMs: number,
  clock: Clock,
): Promise<R> => {
  const end = clock.now().getTime() + timeoutMs
  const told = new Map<string, string>()
  for (let pauseMs = 250; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
    const { jobs, result } = await look()
    for (const job of jobs) {
      const line = described(job)
      if (told.get(job.id) !== line) note(line)
      told.set(job.id, line)
    }
    if (result !== null) return result
    if (clock.now().getTime() + pauseMs > end) {
      const open = jobs.filter((job) => !isOver(job)).map(described)
      throw new AppError("unavailable", `not over after ${Math.round(timeoutMs / 1000)} s: ${open.join("; ")}`)
    }
    await Bun.sleep(pauseMs)
  }
}

const jobWith = async ({ api }: Session, id: string): Promise<Job> =>
  (await api.jobs[":id"].$get({ param: { id } })).json()

/** The job once it is over. Fails with `unavailable` when that takes longer than `timeoutMs`. */
export const waitFor = (session: Session, id: string, timeoutMs: number, clock = systemClock): Promise<Job> =>
  repeatedly(
    async () => {
      const job = await jobWith(session, id)
      return { jobs: [job], result: isOver(job) ? job : null }
    },
    timeoutMs,
    clock,
  )

/**
 * The jobs of the run that an issuing job belongs to, once all are over: one issuance for each agent, then the deployments.
 * Deployments are made in the transaction that completes an issuance, so "all are over" cannot be true too early.
 */
export const waitForRun = (session: Session, id: string, timeoutMs: number, clock = systemClock): Promise<Job[]> =>
  repeatedly(
    async () => {
      const started = await jobWith(session, id)
      const query = { certificate_id: started.certificate_id, per_page: "500" }
      const { data } = await (await session.api.jobs.$get({ query })).json()
      const jobs = data
        .filter(
          (job) =>
            job.id === id ||
            (started.rollout_id !== undefined &&
              job.rollout_id === started.rollout_id &&
              job.created_at >= started.created_at),
        )
        .reverse()
      return { jobs, result: jobs.every(isOver) ? jobs : null }
    },
    timeoutMs,
    clock,
  )
