/** Approval requests on the wire. */
import * as v from "valibot"
import { approvalStates } from "../db/tables/approval.tables"
import { listParams, pagedListOf } from "../server/paging"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { ApprovalRow } from "./approval.store"

export const ApprovalAnswer = v.pipe(
  v.object({
    id: v.string(),
    certificate_id: v.string(),
    job_id: v.string(),
    profile_id: v.string(),
    requested_by: v.string(),
    state: v.picklist(approvalStates),
    decided_by: v.optional(v.string()),
    decided_at: v.optional(WireTime),
    decision_note: v.optional(v.string()),
    metadata: v.optional(v.record(v.string(), v.unknown())),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "Approval" }),
)

export const ApprovalListAnswer = pagedListOf(ApprovalAnswer)

export const approvalAnswer = (request: ApprovalRow) =>
  withoutAbsent({
    id: request.id,
    certificate_id: request.certificateId,
    job_id: request.jobId,
    profile_id: request.profileId,
    requested_by: request.requestedBy,
    state: request.state,
    decided_by: request.decidedBy,
    decided_at: optionalTime(request.decidedAt),
    decision_note: request.decisionNote,
    metadata: request.metadata,
    created_at: requiredTime(request.createdAt),
    updated_at: requiredTime(request.updatedAt),
  })

/** A filter value that no row can have finds nothing; it is not an error. */
const anyText = v.optional(v.string())

export const ApprovalQuery = v.object({
  state: v.optional(v.pipe(v.string(), v.description(approvalStates.join(", ")))),
  certificate_id: anyText,
  requested_by: anyText,
  ...listParams(["id", "certificate_id", "requested_by", "metadata"]),
})

export const DecisionBody = v.object({ note: v.optional(v.pipe(v.string(), v.maxLength(1000)), "") })

export const decisionAnswer = <const A extends string>(action: A) =>
  v.object({ id: v.string(), decided_by: v.string(), action: v.literal(action) })
