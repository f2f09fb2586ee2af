/** Tells owners how jobs ended: a deployment that was done or given up, a renewal that was given up. */
import type { Tx } from "../db/db"
import { isIssuing, mayRetry } from "../jobs/job.machine"
import type { JobRow } from "../jobs/job.store"
import type { AnnouncementService } from "./announcement.service"
import type { NotificationStore } from "./notification.store"

interface Deps {
  announcements: Pick<AnnouncementService, "renewalFailed" | "deploymentSucceeded" | "deploymentFailed">
  notifications: Pick<NotificationStore, "targetName">
}

/** To be called with every job that has changed its state, in the transaction of the change. */
export const jobNews =
  ({ announcements, notifications }: Deps) =>
  async (tx: Tx, job: JobRow): Promise<void> => {
    const { certificateId, status, type } = job
    if (certificateId === null) return
    // What will be tried again is no news yet.
    const isGivenUp = status === "Failed" && !mayRetry(job)
    const reason = job.lastError ?? "no reason was given"
    if (isIssuing(type)) {
      if (isGivenUp) await announcements.renewalFailed(tx, certificateId, { reason })
      return
    }
    if (type !== "Deployment" || !(isGivenUp || status === "Completed")) return
    const targetName =
      job.targetId === null ? "a target that is gone" : await notifications.targetName(tx, job.targetId)
    if (isGivenUp) await announcements.deploymentFailed(tx, certificateId, { targetName, reason })
    else await announcements.deploymentSucceeded(tx, certificateId, { targetName })
  }
