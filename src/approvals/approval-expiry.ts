/**
 * Requests whose job went another way: cancelled, replaced by a forced renewal, its certificate archived or revoked, its agent
 * retired, or nobody decided in time. There is nothing left to decide about, so they expire with the job, saying why.
 */
import { type Actor, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Tx } from "../db/db"
import type { JobStatus } from "../jobs/job.machine"
import type { JobRow } from "../jobs/job.store"
import type { ApprovalStore } from "./approval.store"
import { approvalEvent } from "./approval-event"

interface Deps {
  approvals: Pick<ApprovalStore, "closeOfJob">
  audit: Pick<AuditService, "append">
  clock: Clock
}

/** To be called with every job that has changed its state, in the transaction of the change. */
export const approvalExpiry =
  ({ approvals, audit, clock }: Deps) =>
  async (tx: Tx, job: JobRow, { from, actor }: { from: JobStatus; actor: Actor }): Promise<void> => {
    // A decision closes the request before it moves the job: what is still pending then was not decided.
    if (from !== "AwaitingApproval") return
    const expired = await approvals.closeOfJob(tx, job.id, {
      state: "expired",
      // Whoever ended the job has not decided about the request; the audit event names them.
      decidedBy: systemActor.name,
      decidedAt: clock.now(),
      decisionNote: job.lastError ?? `its job is ${job.status}`,
    })
    if (expired !== null) await audit.append(tx, approvalEvent("approval_expired", actor, expired))
  }
