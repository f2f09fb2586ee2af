/** The states of an approval request and every move between them. What is not listed is illegal: a decision is final. */
import type { approvalStates } from "../db/tables/approval.tables"

export type ApprovalState = (typeof approvalStates)[number]

/** What people say; `expired` is said by nobody. */
export type Decision = Extract<ApprovalState, "approved" | "rejected">

const moves: Readonly<Record<ApprovalState, readonly ApprovalState[]>> = {
  // Expired: its job went another way, or nobody decided in time.
  pending: ["approved", "rejected", "expired"],
  approved: [],
  rejected: [],
  expired: [],
}

export const canMove = (from: ApprovalState, to: ApprovalState): boolean => moves[from].includes(to)
