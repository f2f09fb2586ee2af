/** Audit events about approval requests, all of one form. */
import type { Actor } from "../access/actor"
import type { NewAuditEvent } from "../audit/audit.service"
import type { ApprovalRow } from "./approval.store"

export const approvalEvent = (
  action: string,
  actor: Actor,
  request: ApprovalRow,
  details: Readonly<Record<string, unknown>> = {},
): NewAuditEvent => ({
  action,
  actor,
  resourceType: "approval",
  resourceId: request.id,
  details: {
    certificate_id: request.certificateId,
    job_id: request.jobId,
    profile_id: request.profileId,
    requested_by: request.requestedBy,
    ...(request.decisionNote === null ? {} : { note: request.decisionNote }),
    ...details,
  },
})
