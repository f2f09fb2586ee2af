/** Requests for a second person's word before a certificate is issued. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { CertificateTables } from "./certificate.tables"
import type { IssuanceTables } from "./issuance.tables"
import type { JobTables } from "./job.tables"
import { createdAt, updatedAt } from "./stamps"

export const approvalStates = ["pending", "approved", "rejected", "expired"] as const

export const approvalTables = (
  k: Kit,
  { certificateProfiles }: IssuanceTables,
  { certificates }: CertificateTables,
  { jobs }: JobTables,
) => {
  const approvalRequests = k.table(
    "issuance_approval_requests",
    {
      id: k.text("id").primaryKey(),
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id, { onDelete: "cascade" }),
      jobId: k
        .text("job_id")
        .notNull()
        .references(() => jobs.id, { onDelete: "cascade" }),
      /** The profile that asks for approval; it stays as long as its requests do. */
      profileId: k
        .text("profile_id")
        .notNull()
        .references(() => certificateProfiles.id, { onDelete: "restrict" }),
      requestedBy: k.text("requested_by").notNull(),
      state: k.oneOf("state", approvalStates).notNull().default("pending"),
      decidedBy: k.text("decided_by"),
      decidedAt: k.time("decided_at"),
      decisionNote: k.text("decision_note"),
      /** What was asked for, as it was then. */
      metadata: k.json<Record<string, unknown>>("metadata").notNull(),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_issuance_approval_requests_pending_job").on(t.jobId).where(sql`state = 'pending'`),
      k.index("idx_issuance_approval_requests_job_id").on(t.jobId),
      k.index("idx_issuance_approval_requests_certificate_id").on(t.certificateId, t.createdAt),
      // Covers the count of decisions.
      k.index("idx_issuance_approval_requests_profile_id").on(t.profileId, t.state, t.decidedBy),
      k.index("idx_issuance_approval_requests_state").on(t.state, t.createdAt, t.id),
      k.index("idx_issuance_approval_requests_requested_by").on(t.requestedBy, t.createdAt),
      k.index("idx_issuance_approval_requests_created_at").on(t.createdAt, t.id),
      k.check("issuance_approval_requests_state", sql`state in ('pending', 'approved', 'rejected', 'expired')`),
      k.check(
        "issuance_approval_requests_undecided",
        sql`state <> 'pending' or (decided_by is null and decided_at is null and decision_note is null)`,
      ),
      k.check("issuance_approval_requests_decided", sql`state = 'pending' or decided_at is not null`),
    ],
  )
  return { approvalRequests }
}
