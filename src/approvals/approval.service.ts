/**
 * Two-person approval: what a profile with `requires_approval` issues waits for the word of somebody else. A request belongs to
 * one job; both change in one transaction, with the certificate locked.
 */
import { type Actor, actorName } from "../access/actor"
import { objectionToOwner, objectionToRequester } from "../access/two-person"
import type { AuditService } from "../audit/audit.service"
import type { CertificateRow, CertificateStore } from "../certificates/certificate.store"
import type { LifecycleService } from "../certificates/lifecycle.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice } from "../db/listing"
import { AppError } from "../errors"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { canMove, type Decision } from "./approval.machine"
import type { ApprovalFilter, ApprovalRow, ApprovalStore } from "./approval.store"
import { approvalEvent } from "./approval-event"

interface Deps {
  db: Pick<Db, "transaction">
  approvals: ApprovalStore
  jobs: Pick<JobStore, "lock">
  queue: Pick<JobQueue, "move">
  certificates: Pick<CertificateStore, "lock">
  lifecycle: Pick<LifecycleService, "afterJob">
  /** Name and e-mail of a certificate's owner; null when there is none. */
  ownerOf: (certificateId: string) => Promise<{ name: string; email: string } | null>
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Every request is approved at once, by nobody. */
  bypass: boolean
}

/** Who approves where nobody is asked. */
const bypassActor: Actor = { name: "system-bypass", type: "System", role: "admin" }

/** What an approval is asked for. */
export interface Asked {
  readonly certificate: CertificateRow
  /** The profile that wants it. */
  readonly profileId: string
  /** What opened the job: `manual`, `threshold`, `deployment`. */
  readonly trigger: string
  readonly actor: Actor
}

const missing = (id: string) => new AppError("not_found", `approval request ${id} does not exist`)
const nobodyKnown = () =>
  new AppError(
    "unauthenticated",
    "two-person integrity: authentication is off (CERTCTL_AUTH_TYPE), so nobody knows who decides",
  )
const alreadyDecided = (id: string) => new AppError("conflict", `approval request ${id} was decided already`)

/** What the decision does to the job. */
const consequences = {
  approved: { status: "Pending", action: "job_approved", lastError: () => null },
  rejected: {
    status: "Cancelled",
    action: "job_rejected",
    lastError: (note: string) => (note === "" ? "rejected by user" : `rejected: ${note}`),
  },
} as const

export const approvalService = (deps: Deps) => {
  const { db, approvals, jobs, queue, certificates, lifecycle, audit, clock } = deps

  const get = async (id: string): Promise<ApprovalRow> => {
    const request = await approvals.get(id)
    if (request === null) throw missing(id)
    return request
  }

  /** Why this person may not decide so; null when they may. */
  const objection = async (
    { requestedBy, certificateId }: ApprovalRow,
    decision: Decision,
    actor: Actor,
  ): Promise<AppError | null> => {
    if (actor.role === "none") return nobodyKnown()
    const toRequester = objectionToRequester(requestedBy, actor)
    if (toRequester !== null || decision === "rejected") return toRequester
    return objectionToOwner(await deps.ownerOf(certificateId), actor)
  }

  const decide = async (seen: ApprovalRow, decision: Decision, note: string, actor: Actor): Promise<void> => {
    if (!canMove(seen.state, decision)) throw alreadyDecided(seen.id)
    const refusal = await objection(seen, decision, actor)
    if (refusal !== null) throw refusal

    const strayed = await db.transaction(async (tx) => {
      await certificates.lock(tx, seen.certificateId)
      const job = await jobs.lock(tx, seen.jobId)
      if (job === null) throw missing(seen.id)
      const decidedAt = clock.now()
      const closedAs = async (closing: Pick<Parameters<ApprovalStore["close"]>[2], "state" | "decisionNote">) => {
        const closed = await approvals.close(tx, seen.id, { ...closing, decidedBy: actor.name, decidedAt })
        if (closed === null) throw alreadyDecided(seen.id)
        return closed
      }
      if (job.status !== "AwaitingApproval") {
        // Nothing of ours leaves a request behind; whoever changed the rows by hand hears of it, and it does not stay.
        const decisionNote = `its job was ${job.status} when somebody decided`
        const expired = await closedAs({ state: "expired", decisionNote })
        await audit.append(
          tx,
          approvalEvent("approval_job_transition_failed", actor, expired, { job_status: job.status, decision }),
          approvalEvent("approval_expired", actor, expired),
        )
        return job.status
      }
      const closed = await closedAs({ state: decision, decisionNote: note === "" ? null : note })
      await audit.append(tx, approvalEvent(`approval_${decision}`, actor, closed))
      const { status, action, lastError } = consequences[decision]
      const moved = await queue.move(tx, job, status, {
        actor,
        action,
        details: { approval_id: seen.id },
        set: { lastError: lastError(note) },
      })
      if (moved === null) throw new AppError("conflict", `job ${job.id} has just changed; look again`)
      await lifecycle.afterJob(tx, moved)
      return null
    })
    if (strayed !== null) {
      throw new AppError("conflict", `job ${seen.jobId} is ${strayed} and no longer waits for approval`)
    }
  }

  return {
    /** @throws AppError `not_found` */
    get,

    /** Newest first. `total` counts all that match. */
    async list(filter: ApprovalFilter, slice: Slice) {
      const [rows, total] = await Promise.all([approvals.list(filter, slice), approvals.total(filter)])
      return { rows, total }
    },

    pendingOf: approvals.pendingOf,
    objection,

    /** What became of requests so far, counted by outcome and profile. */
    decisions: () => approvals.decisions(bypassActor.name),

    /** How long requests waited for what became of them. Those that nobody had to decide do not count. */
    ages: (boundsSeconds: readonly number[]) => approvals.ages(bypassActor.name, boundsSeconds),

    /** Asks for the approval of a job that has just been opened to wait for one. Returns the job as it is then. */
    async request(tx: Tx, job: JobRow, { certificate, profileId, trigger, actor }: Asked): Promise<JobRow> {
      const at = clock.now()
      const request: ApprovalRow = {
        id: newId("ar-"),
        certificateId: certificate.id,
        jobId: job.id,
        profileId,
        requestedBy: job.requestedBy ?? actorName(actor),
        state: "pending",
        decidedBy: null,
        decidedAt: null,
        decisionNote: null,
        metadata: {
          common_name: certificate.commonName,
          sans: certificate.sans,
          issuer_id: certificate.issuerId,
          trigger,
        },
        createdAt: at,
        updatedAt: at,
      }
      await approvals.insert(tx, request)
      await audit.append(tx, approvalEvent("approval_requested", actor, request, { trigger }))
      if (!deps.bypass) return job
      const closing = { state: "approved", decidedBy: bypassActor.name, decidedAt: at, decisionNote: null } as const
      const approved = await approvals.close(tx, request.id, closing)
      const moved = await queue.move(tx, job, "Pending", {
        actor: bypassActor,
        action: "job_approved",
        details: { approval_id: request.id },
      })
      if (approved === null || moved === null) throw new AppError("internal", `job ${job.id} was not opened to wait`)
      await audit.append(tx, approvalEvent("approval_bypassed", bypassActor, approved))
      return moved
    },

    /**
     * @param note "" for none
     * @throws AppError `unauthenticated` nobody is known; `not_found`; `conflict` decided already, or its job went another way;
     *   `forbidden` who asked decides, or who owns the certificate approves
     */
    async decide(id: string, decision: Decision, note: string, actor: Actor): Promise<void> {
      await decide(await get(id), decision, note, actor)
    },

    /** As `decide`, by the job. False when no request waits for this job: then there is nothing to decide here. */
    async decideForJob(jobId: string, decision: Decision, note: string, actor: Actor): Promise<boolean> {
      const request = await approvals.pendingOf(jobId)
      if (request === null) return false
      await decide(request, decision, note, actor)
      return true
    },
  }
}

export type ApprovalService = ReturnType<typeof approvalService>
