/**
 * What the server has not heard yet of jobs that are done: final states and verifications. Kept on the disk, so that neither a
 * server that is away for weeks nor a restart loses them, and delivered in order once somebody answers. A report that reaches
 * the server at once never touches the disk.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Logger } from "@logtape/logtape"
import * as v from "valibot"
import { StatusReport, VerifyBody } from "../src/agents/agent-protocol.schema"
import type { AgentClient } from "../src/client/agent-client"
import { writePrivateFile } from "../src/data-directory"
import { AppError, type ErrorCode, messageOf } from "../src/errors"
import { backoffMs, pause } from "./waiting"

/** Reports kept; what is older gives way. An agent's jobs need the server, so there are never many. */
const mostKept = 1000
/** Deliveries that the server fails at (500) before a report is given up, so that none stays for ever. */
const mostTries = 20
/** What a timer can wait at most. */
const longestTimerMs = 2 ** 31 - 1

const Kept = v.variant("kind", [
  v.object({ kind: v.literal("status"), jobId: v.string(), body: StatusReport }),
  v.object({ kind: v.literal("verification"), jobId: v.string(), body: VerifyBody }),
])
type Report = v.InferOutput<typeof Kept>

interface Entry {
  readonly path: string
  readonly report: Report
  tries: number
}

export interface OutboxDeps {
  /** Made when it is first needed, 0700. */
  readonly folder: string
  readonly client: Pick<AgentClient, "reportStatus" | "reportVerification">
  readonly log: Logger
}

export type Outbox = ReturnType<typeof openOutbox>

/** Nobody to hear it at the moment: another time it may be heard. */
const isForLater = (error: unknown): boolean =>
  error instanceof AppError && (error.retryable || error.code === "unauthenticated" || error.code === "internal")

/** Whoever answered so answers so to everything. */
const isAboutAll = (error: unknown): boolean => {
  const about: readonly ErrorCode[] = ["unavailable", "rate_limited", "unauthenticated"]
  return error instanceof AppError && about.includes(error.code)
}

/** Reads what an earlier process could not deliver. */
export const openOutbox = ({ folder, client, log }: OutboxDeps) => {
  const entries = readEntries(folder, log)
  let next = Number(/(\d+)\.json$/.exec(entries.at(-1)?.path ?? "")?.[1] ?? 0) + 1
  let wake = () => {}

  const send = (report: Report): Promise<void> =>
    report.kind === "status"
      ? client.reportStatus(report.jobId, report.body)
      : client.reportVerification(report.jobId, report.body)

  const forget = (entry: Entry) => {
    entries.splice(entries.indexOf(entry), 1)
    rmSync(entry.path, { force: true })
  }

  const keep = (report: Report): void => {
    const oldest = entries[0]
    if (entries.length >= mostKept && oldest !== undefined) {
      log.error("job {jobId}: its report is given up: more than {mostKept} wait for the server", {
        jobId: oldest.report.jobId,
        mostKept,
      })
      forget(oldest)
    }
    const path = join(folder, `${String(next++).padStart(15, "0")}.json`)
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      writePrivateFile(path, JSON.stringify(report))
    } catch (error) {
      // A full disk must not lose it while this process lives.
      log.error("job {jobId}: its report is kept in memory only: {error}", {
        jobId: report.jobId,
        error: messageOf(error),
      })
    }
    entries.push({ path, report, tries: 0 })
    wake()
  }

  /** Tries everything once, oldest first. */
  const deliverAll = async (): Promise<void> => {
    // Of one job nothing is sent while something older of it is not.
    const blocked = new Set<string>()
    for (const entry of [...entries]) {
      const { jobId } = entry.report
      if (blocked.has(jobId)) continue
      try {
        await send(entry.report)
        log.info("job {jobId}: the report that waited was delivered", { jobId })
        forget(entry)
      } catch (error) {
        if (isAboutAll(error)) return
        entry.tries++
        if (isForLater(error) && entry.tries < mostTries) {
          blocked.add(jobId)
          continue
        }
        log.warn("job {jobId}: the server does not take the report that waited: {error}", {
          jobId,
          error: messageOf(error),
        })
        forget(entry)
      }
    }
  }

  const report = async (made: Report): Promise<void> => {
    if (entries.length > 0) return keep(made)
    try {
      await send(made)
    } catch (error) {
      const { jobId } = made
      log.warn("job {jobId}: report failed: {error}", { jobId, kind: made.kind, error: messageOf(error) })
      if (isForLater(error)) keep(made)
    }
  }

  return {
    /** Tells the server of a job's final state, now or later. Never fails. */
    status: (jobId: string, body: StatusReport): Promise<void> => report({ kind: "status", jobId, body }),

    /** Tells the server what was seen on the wire, now or later. Never fails. */
    verification: (jobId: string, body: VerifyBody): Promise<void> => report({ kind: "verification", jobId, body }),

    /** Jobs of which the server has yet to hear: it must not give them out again. */
    jobIds: (): readonly string[] => [...new Set(entries.map((entry) => entry.report.jobId))],

    /** The server has just answered: what waits has a chance. */
    nudge: (): void => {
      if (entries.length > 0) wake()
    },

    /** Delivers what waits, whenever there is hope or the back-off is over, until the signal fires. */
    async run(backoffUnitMs: number, signal: AbortSignal): Promise<void> {
      let failures = 0
      while (!signal.aborted) {
        const nudged = new AbortController()
        wake = () => nudged.abort()
        const before = entries.length
        if (before > 0) await deliverAll()
        failures = entries.length < before ? 0 : failures + 1
        const waitMs = entries.length === 0 ? longestTimerMs : backoffMs(Math.max(failures, 1), backoffUnitMs)
        await pause(waitMs, AbortSignal.any([signal, nudged.signal]))
      }
    },
  }
}

const readEntries = (folder: string, log: Logger): Entry[] => {
  let names: string[]
  try {
    names = readdirSync(folder).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
  const entries: Entry[] = []
  for (const name of names) {
    const path = join(folder, name)
    // Half-written files never got their final name.
    if (!/^\d{15}\.json$/.test(name)) {
      rmSync(path, { force: true })
      continue
    }
    const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), Kept), readFileSync(path, "utf8"))
    if (parsed.success) {
      entries.push({ path, report: parsed.output, tries: 0 })
    } else {
      // The job is handed out again, finds everything in place and reports anew.
      log.warn("{path} is no report of a job and was removed", { path })
      rmSync(path, { force: true })
    }
  }
  return entries
}
