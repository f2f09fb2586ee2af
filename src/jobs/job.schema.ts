/** Jobs on the wire. */
import * as v from "valibot"
import { jobStatuses, jobTypes } from "../db/tables/job.tables"
import { listParams, pagedListOf } from "../server/paging"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { JobRow } from "./job.store"

export const JobAnswer = v.pipe(
  v.object({
    id: v.string(),
    type: v.picklist(jobTypes),
    certificate_id: v.string(),
    target_id: v.optional(v.string()),
    agent_id: v.optional(v.string()),
    status: v.picklist(jobStatuses),
    attempts: v.pipe(v.number(), v.integer()),
    max_attempts: v.pipe(v.number(), v.integer()),
    last_error: v.optional(v.string()),
    hold: v.optional(v.pipe(v.string(), v.description("Why the job waits"))),
    scheduled_at: WireTime,
    started_at: v.optional(WireTime),
    completed_at: v.optional(WireTime),
    created_at: WireTime,
    verification_status: v.picklist(["pending", "success", "failed", "skipped"]),
    verified_at: v.optional(WireTime),
    verification_error: v.optional(v.string()),
    verification_fingerprint: v.optional(v.string()),
    requested_by: v.optional(v.string()),
    version_id: v.optional(v.string()),
    rollout_id: v.optional(v.string()),
    wave: v.optional(v.pipe(v.number(), v.integer())),
  }),
  v.metadata({ ref: "Job" }),
)

export const JobListAnswer = pagedListOf(JobAnswer)

export const jobAnswer = (job: JobRow) =>
  withoutAbsent({
    id: job.id,
    type: job.type,
    certificate_id: job.certificateId ?? "",
    target_id: job.targetId,
    agent_id: job.agentId,
    status: job.status,
    attempts: job.attempts,
    max_attempts: job.maxAttempts,
    last_error: job.lastError,
    hold: job.hold,
    scheduled_at: requiredTime(job.scheduledAt),
    started_at: optionalTime(job.startedAt),
    completed_at: optionalTime(job.completedAt),
    created_at: requiredTime(job.createdAt),
    verification_status: job.verificationStatus,
    verified_at: optionalTime(job.verifiedAt),
    verification_error: job.verificationError,
    verification_fingerprint: job.verificationFingerprint,
    requested_by: job.requestedBy,
    version_id: job.versionId,
    rollout_id: job.rolloutId,
    wave: job.wave,
  })

/** A filter value that no row can have finds nothing; it is not an error. */
const anyText = v.optional(v.string())

export const JobQuery = v.object({
  status: anyText,
  type: anyText,
  certificate_id: anyText,
  target_id: anyText,
  agent_id: anyText,
  ...listParams(["id", "certificate_id", "target_id", "agent_id", "requested_by", "last_error"]),
})

export const RejectBody = v.object({ reason: v.optional(v.pipe(v.string(), v.maxLength(1000)), "") })

export const VerificationAnswer = v.pipe(
  v.object({
    job_id: v.string(),
    target_id: v.string(),
    expected_fingerprint: v.string(),
    actual_fingerprint: v.string(),
    verified: v.boolean(),
    verified_at: WireTime,
    error: v.optional(v.string()),
  }),
  v.metadata({ ref: "VerificationResult" }),
)

export const verificationAnswer = (job: JobRow) =>
  withoutAbsent({
    job_id: job.id,
    target_id: job.targetId ?? "",
    expected_fingerprint: job.verificationExpected ?? "",
    actual_fingerprint: job.verificationFingerprint ?? "",
    verified: job.verificationStatus === "success",
    verified_at: requiredTime(job.verifiedAt),
    error: job.verificationError,
  })
