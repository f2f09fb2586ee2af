/** What people do with jobs, and what agents report of them. */
import { type Actor, actorName } from "../access/actor"
import { objectionToOwner, objectionToRequester } from "../access/two-person"
import type { DeploymentFacts } from "../agents/agent-protocol.schema"
import type { ApprovalService } from "../approvals/approval.service"
import type { AuditService } from "../audit/audit.service"
import type { CertificateStore } from "../certificates/certificate.store"
import type { LifecycleService } from "../certificates/lifecycle.service"
import type { VersionStore } from "../certificates/version.store"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import type { Slice } from "../db/listing"
import { AppError } from "../errors"
import type { ObservationService } from "../health/observation.service"
import type { TargetCheckService } from "../targets/target-check.service"
import type { DeploymentMetrics } from "./deployment.metrics"
import { isOpen } from "./job.machine"
import type { JobFilter, JobRow, JobStore } from "./job.store"
import type { JobQueue } from "./job-queue.service"
import { canMove as canBeVerified } from "./verification.machine"

interface Deps {
  db: Pick<Db, "transaction">
  jobs: JobStore
  queue: Pick<JobQueue, "move">
  certificates: Pick<CertificateStore, "lock" | "patch">
  versions: Pick<VersionStore, "get" | "newestOf">
  approvals: Pick<ApprovalService, "decideForJob">
  /** Name and e-mail of a certificate's owner; null when there is none. */
  ownerOf: (certificateId: string) => Promise<{ name: string; email: string } | null>
  /** The endpoint that a target's configuration names for verification; null: none. */
  endpointOf: (targetId: string) => Promise<string | null>
  /** Whether the agent may speak for the job though it is not its own: a job without agent of a certificate it serves. */
  isServedBy: (certificateId: string, agentId: string) => Promise<boolean>
  lifecycle: Pick<LifecycleService, "afterJob">
  checks: Pick<TargetCheckService, "reported">
  observations: Pick<ObservationService, "record">
  audit: Pick<AuditService, "append">
  clock: Clock
  metrics?: Pick<DeploymentMetrics, "reported" | "verified">
}

export interface Verification {
  targetId: string
  expectedFingerprint: string
  actualFingerprint: string
  verified: boolean
  error: string
}

const missing = (id: string) => new AppError("not_found", `job ${id} does not exist`)

export const jobService = (deps: Deps) => {
  const { db, jobs, queue, certificates, versions, lifecycle, observations, audit, clock } = deps

  const get = async (id: string): Promise<JobRow> => {
    const job = await jobs.get(id)
    if (job === null) throw missing(id)
    return job
  }

  /** A job that was read before, with its certificate locked, so that what follows from the change is seen by everybody in one order. */
  const lockSeen = async (tx: Tx, { id, certificateId }: Pick<JobRow, "id" | "certificateId">) => {
    const certificate = certificateId === null ? null : await certificates.lock(tx, certificateId)
    const job = await jobs.lock(tx, id)
    if (job === null) throw missing(id)
    return { job, known: certificate === null ? {} : { certificate } }
  }

  const lock = async (tx: Tx, id: string): Promise<JobRow> => {
    const seen = await jobs.get(id, tx)
    if (seen === null) throw missing(id)
    return (await lockSeen(tx, seen)).job
  }

  const decide = (id: string, to: "Pending" | "Cancelled", action: string, set: Partial<JobRow>, actor: Actor) =>
    db.transaction(async (tx) => {
      const job = await lock(tx, id)
      if (job.status !== "AwaitingApproval") {
        throw new AppError("invalid_state", `job ${id} is ${job.status} and does not wait for approval`)
      }
      const moved = await queue.move(tx, job, to, { actor, action, set })
      if (moved === null) throw new AppError("conflict", `job ${id} was decided by somebody else`)
      await lifecycle.afterJob(tx, moved)
    })

  return {
    get,

    async list(filter: JobFilter, slice: Slice) {
      const [rows, total] = await Promise.all([jobs.list(filter, slice), jobs.total(filter)])
      return { rows, total }
    },

    /** @throws AppError `not_found`; `invalid_state` when the job has ended */
    cancel: (id: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const job = await lock(tx, id)
        if (!isOpen(job.status))
          throw new AppError("invalid_state", `job ${id} is ${job.status} and cannot be cancelled`)
        const moved = await queue.move(tx, job, "Cancelled", {
          actor,
          action: "job_cancelled",
          set: { lastError: "cancelled by user" },
        })
        if (moved === null) throw new AppError("conflict", `job ${id} has just changed; look again`)
        await lifecycle.afterJob(tx, moved)
      }),

    /**
     * A job that an approval request waits for is decided by that request.
     * @throws AppError `not_found`; `invalid_state` not waiting; `forbidden` the requester or the owner decides;
     *   `unauthenticated` a request waits, and nobody is known
     */
    async approve(id: string, actor: Actor): Promise<void> {
      const job = await get(id)
      if (await deps.approvals.decideForJob(id, "approved", "", actor)) return
      const owner = job.certificateId === null ? null : await deps.ownerOf(job.certificateId)
      const refusal = objectionToRequester(job.requestedBy, actor) ?? objectionToOwner(owner, actor)
      if (refusal !== null) throw refusal
      await decide(id, "Pending", "job_approved", { lastError: null }, actor)
    },

    /** @throws AppError as `approve`; the owner may reject */
    async reject(id: string, reason: string, actor: Actor): Promise<void> {
      const job = await get(id)
      if (await deps.approvals.decideForJob(id, "rejected", reason, actor)) return
      const refusal = objectionToRequester(job.requestedBy, actor)
      if (refusal !== null) throw refusal
      const lastError = reason === "" ? "rejected by user" : `rejected: ${reason}`
      await decide(id, "Cancelled", "job_rejected", { lastError }, actor)
    },

    /**
     * What an agent reports of its work.
     * @throws AppError `not_found` unknown or not this agent's; `conflict` the job ended otherwise
     */
    async report(
      agentId: string,
      jobId: string,
      {
        status,
        error,
        deployment = {},
      }: { status: "Running" | "Completed" | "Failed"; error: string; deployment?: DeploymentFacts },
      actor: Actor,
    ): Promise<void> {
      const seen = await get(jobId)
      const isOwn =
        seen.agentId === agentId ||
        (seen.agentId === null && seen.certificateId !== null && (await deps.isServedBy(seen.certificateId, agentId)))
      if (!isOwn) throw missing(jobId)
      const endpoint = seen.targetId === null ? null : await deps.endpointOf(seen.targetId)
      await db.transaction(async (tx) => {
        const { job, known } = await lockSeen(tx, seen)
        const reported = { reported: status, ...(error === "" ? {} : { error }) }
        if (job.status === status) {
          if (error !== "" && status !== "Completed") await jobs.patch(tx, jobId, { lastError: error.slice(0, 2000) })
          await audit.append(tx, {
            actor,
            action: "job_status_reported",
            resourceType: "job",
            resourceId: jobId,
            details: reported,
          })
          return
        }
        const isDeployment = job.type === "Deployment"
        const isCheck = job.type === "Validation"
        const mayReport =
          (job.status === "Running" && status !== "Running" && (isDeployment || isCheck)) ||
          (job.status === "AwaitingCSR" && status === "Failed")
        if (!mayReport) {
          throw new AppError("conflict", `job ${jobId} is ${job.status}; a report of ${status} does not fit`)
        }
        // Where the agent has looked all the same, what it saw counts.
        const skips =
          isDeployment && status === "Completed" && endpoint === null && job.verificationStatus === "pending"
            ? { verificationStatus: "skipped" as const }
            : null
        const moved = await queue.move(tx, job, status, {
          actor,
          action:
            isDeployment || isCheck
              ? `${isCheck ? "validation" : "deployment"}_job_${status.toLowerCase()}`
              : "renewal_job_failed",
          details: skips === null ? reported : { ...reported, verification: { from: "pending", to: "skipped" } },
          set:
            status === "Completed"
              ? { lastError: null, ...skips }
              : { lastError: error === "" ? "the agent gave no reason" : error, attempts: Math.max(job.attempts, 1) },
        })
        if (moved === null) throw new AppError("conflict", `job ${jobId} has just changed; look again`)
        await audit.append(tx, {
          actor,
          action: "job_status_reported",
          resourceType: "job",
          resourceId: jobId,
          details: reported,
        })
        if (isDeployment) {
          await recordDelivery(tx, moved, agentId, status === "Completed", error)
          deps.metrics?.reported(tx, moved, deployment)
        }
        if (isCheck) await deps.checks.reported(tx, moved, actor)
        // What becomes of an issuing job is judged by the certificate as it is then.
        await lifecycle.afterJob(tx, moved, null, isDeployment ? known : {})
      })
    },

    /**
     * What the agent saw on the wire after a deployment. Never changes the job's status.
     * @throws AppError `not_found`; `validation` another target than the job's
     */
    async verify(jobId: string, seen: Verification, actor: Actor): Promise<{ verified: boolean; verifiedAt: Date }> {
      const job = await get(jobId)
      if (actor.role === "agent" && job.agentId !== actor.agentId) throw missing(jobId)
      if (job.targetId !== null && job.targetId !== seen.targetId) {
        throw new AppError("validation", `target_id must be ${job.targetId}, the target of job ${jobId}`)
      }
      const expected = seen.expectedFingerprint.toLowerCase()
      const actual = seen.actualFingerprint.toLowerCase()
      const verified = seen.verified && seen.error === "" && expected === actual
      const verifiedAt = clock.now()
      const endpoint = job.targetId === null ? null : await deps.endpointOf(job.targetId)
      await db.transaction(async (tx) => {
        const locked = await lock(tx, jobId)
        const [from, to] = [locked.verificationStatus, verified ? "success" : "failed"] as const
        await jobs.patch(tx, jobId, {
          verificationStatus: to,
          verifiedAt,
          verificationFingerprint: actual,
          verificationExpected: expected,
          verificationError: verified ? null : seen.error || "the served certificate is another one",
        })
        await audit.append(tx, {
          actor,
          action: verified ? "job_verification_success" : "job_verification_failed",
          resourceType: "job",
          resourceId: jobId,
          details: {
            ...{ target_id: seen.targetId, expected, actual },
            ...(seen.error === "" ? {} : { error: seen.error }),
            ...(canBeVerified(from, to) ? { verification: { from, to } } : {}),
          },
        })
        deps.metrics?.verified(tx, locked, verified)
        if (locked.certificateId !== null) {
          await observations.record(tx, {
            certificateId: locked.certificateId,
            targetId: locked.targetId,
            endpoint: endpoint ?? "",
            kind: "served",
            fingerprint: actual,
            ok: verified,
            detail: verified ? "" : seen.error || `serves ${actual} instead of ${expected}`,
            observer: actorName(actor),
          })
        }
        await lifecycle.afterJob(tx, locked)
      })
      return { verified, verifiedAt }
    },
  }

  async function recordDelivery(tx: Tx, job: JobRow, agentId: string, ok: boolean, error: string): Promise<void> {
    if (job.certificateId === null) return
    if (ok) await certificates.patch(tx, job.certificateId, { lastDeploymentAt: clock.now() })
    const version =
      job.versionId === null
        ? await versions.newestOf(tx, job.certificateId, agentId)
        : await versions.get(job.versionId, tx)
    await observations.record(tx, {
      certificateId: job.certificateId,
      targetId: job.targetId,
      endpoint: "",
      kind: "delivered",
      // A deployment that failed says nothing about what is in place now.
      fingerprint: ok ? (version?.fingerprintSha256 ?? "") : "",
      ok,
      detail: error,
      observer: agentId,
    })
  }
}

export type JobService = ReturnType<typeof jobService>
