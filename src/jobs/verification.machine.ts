/** What is known of how a deployment is served, and every move between. What is not listed is illegal. */
import type { JobRow } from "./job.store"

export type VerificationStatus = JobRow["verificationStatus"]

const moves: Readonly<Record<VerificationStatus, readonly VerificationStatus[]>> = {
  // skipped: done, and nothing says where to look.
  pending: ["success", "failed", "skipped"],
  // Looked at again. pending: handed out once more, so that what was seen before says nothing.
  success: ["failed", "pending"],
  failed: ["success", "pending"],
  skipped: ["success", "failed", "pending"],
}

export const canMove = (from: VerificationStatus, to: VerificationStatus): boolean => moves[from].includes(to)
