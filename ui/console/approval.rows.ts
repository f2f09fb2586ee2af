/** Approval requests as pages show them: names in place of ids, and what stands against the visitor's deciding. */
import { type Actor, systemActor } from "../../src/access/actor"
import type { ApprovalService } from "../../src/approvals/approval.service"
import type { ApprovalRow } from "../pages/views"
import type { ConsoleDeps } from "./room"

type Approval = Awaited<ReturnType<ApprovalService["get"]>>

const textIn = (metadata: Approval["metadata"], key: string): string => {
  const value = metadata[key]
  return typeof value === "string" ? value : ""
}

const textsIn = (metadata: Approval["metadata"], key: string): string[] => {
  const value = metadata[key]
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : []
}

/** In the same order. */
export const approvalRows = async (
  { approvals, inventory }: Pick<ConsoleDeps, "approvals" | "inventory">,
  requests: readonly Approval[],
  actor: Actor,
): Promise<ApprovalRow[]> => {
  const asked = requests.map(({ metadata, profileId }) => ({ issuerId: textIn(metadata, "issuer_id"), profileId }))
  const { issuers, profiles } = await inventory.askedOf(asked)
  const against = async (request: Approval, decision: "approved" | "rejected") =>
    request.state === "pending" ? ((await approvals.objection(request, decision, actor))?.message ?? null) : null
  return Promise.all(
    requests.map(async (request) => ({
      id: request.id,
      state: request.state,
      jobId: request.jobId,
      certificate: {
        id: request.certificateId,
        commonName: textIn(request.metadata, "common_name") || request.certificateId,
      },
      sans: textsIn(request.metadata, "sans"),
      issuer: issuers.get(textIn(request.metadata, "issuer_id")) ?? null,
      profile: profiles.get(request.profileId) ?? { id: request.profileId, name: request.profileId },
      requestedBy: request.requestedBy === systemActor.name ? null : request.requestedBy,
      createdAt: request.createdAt,
      decidedBy: request.decidedBy,
      decidedAt: request.decidedAt,
      note: request.decisionNote,
      objections: { approve: await against(request, "approved"), reject: await against(request, "rejected") },
    })),
  )
}

export const approvalRow = async (
  deps: Pick<ConsoleDeps, "approvals" | "inventory">,
  request: Approval,
  actor: Actor,
): Promise<ApprovalRow> => {
  const [row] = await approvalRows(deps, [request], actor)
  if (row === undefined) throw new Error(`request ${request.id} has no row`)
  return row
}

/** The request that waits for a decision about a job; null when there is none. */
export const pendingApproval = async (
  deps: Pick<ConsoleDeps, "approvals" | "inventory">,
  job: { readonly id: string; readonly status: string },
  actor: Actor,
): Promise<ApprovalRow | null> => {
  if (job.status !== "AwaitingApproval") return null
  const request = await deps.approvals.pendingOf(job.id)
  return request === null ? null : approvalRow(deps, request, actor)
}
