/** Lets go of deployments whose target's window has opened. */
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { type WindowsOf, windowHoldOf, windowHoldPrefix } from "./deployment-window"

interface Deps {
  db: Pick<Db, "transaction" | "read">
  jobs: Pick<JobStore, "heldBy">
  queue: Pick<JobQueue, "release" | "hold">
  windowsOf: WindowsOf
  clock: Clock
}

const pageSize = 500

export const windowService = ({ db, jobs, queue, windowsOf, clock }: Deps) => ({
  /** Looks at every deployment that waits for a window: releases those that may begin, and gives the others their new reason. */
  async release(signal: AbortSignal): Promise<void> {
    let after: { createdAt: Date; id: string } | null = null
    for (;;) {
      const page = await jobs.heldBy(windowHoldPrefix, after, pageSize)
      const windows = await windowsOf(db.read, [...new Set(page.flatMap((job) => job.targetId ?? []))])
      for (const job of page) {
        const hold = windowHoldOf(job, windows.get(job.targetId ?? ""), clock.now())
        if (hold === job.hold) continue
        // Compare-and-set, like every change of a job: one that moved on meanwhile is left alone.
        await db.transaction(async (tx) => {
          if (hold === null) await queue.release(tx, job)
          else await queue.hold(tx, job, hold)
        })
      }
      const last = page.at(-1)
      if (last === undefined || page.length < pageSize || signal.aborted) return
      after = { createdAt: last.createdAt, id: last.id }
    }
  },
})

export type WindowService = ReturnType<typeof windowService>
