/** Queued work, the roll-outs it belongs to, and what was seen at the places where certificates are served. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { CertificateTables } from "./certificate.tables"
import type { FleetTables } from "./fleet.tables"
import { createdAt } from "./stamps"

export const jobTypes = ["Issuance", "Renewal", "Deployment", "Validation"] as const
export const jobStatuses = [
  "Pending",
  "AwaitingCSR",
  "AwaitingApproval",
  "Running",
  "Completed",
  "Failed",
  "Cancelled",
] as const

export const jobTables = (
  k: Kit,
  { certificates, certificateVersions }: CertificateTables,
  { agents, deploymentTargets }: FleetTables,
) => {
  const rollouts = k.table(
    "rollouts",
    {
      id: k.text("id").primaryKey(),
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id, { onDelete: "cascade" }),
      state: k.oneOf("state", ["running", "halted", "done"]).notNull(),
      /** Target ids per wave, in the order in which the waves go out. */
      waves: k.json<string[][]>("waves").notNull(),
      createdAt: createdAt(k),
      finishedAt: k.time("finished_at"),
    },
    (t) => [
      k.index("idx_rollouts_certificate_id").on(t.certificateId),
      k.index("idx_rollouts_open").on(t.createdAt, t.id).where(sql`state = 'running'`),
      // One issuance run at a time is open per certificate: agents that finish together join the same roll-out.
      k.uniqueIndex("uq_rollouts_running").on(t.certificateId).where(sql`state = 'running'`),
    ],
  )
  const jobs = k.table(
    "jobs",
    {
      id: k.text("id").primaryKey(),
      type: k.oneOf("type", jobTypes).notNull(),
      certificateId: k.text("certificate_id").references(() => certificates.id, { onDelete: "cascade" }),
      targetId: k.text("target_id").references(() => deploymentTargets.id, { onDelete: "set null" }),
      agentId: k.text("agent_id").references(() => agents.id, { onDelete: "set null" }),
      status: k.oneOf("status", jobStatuses).notNull().default("Pending"),
      attempts: k.int("attempts").notNull().default(0),
      maxAttempts: k.int("max_attempts").notNull().default(3),
      lastError: k.text("last_error"),
      deploymentResult: k.json<Record<string, unknown>>("deployment_result"),
      requestedBy: k.text("requested_by"),
      versionId: k.text("version_id").references(() => certificateVersions.id, { onDelete: "set null" }),
      rolloutId: k.text("rollout_id").references(() => rollouts.id, { onDelete: "set null" }),
      wave: k.int("wave"),
      /** Why the job waits, in words; null when nothing holds it. */
      hold: k.text("hold"),
      /** Whether a deployment may begin outside its target's windows: somebody asked for that. */
      ignoresWindows: k.bool("ignores_windows").notNull().default(false),
      csrPem: k.text("csr_pem"),
      orderId: k.text("order_id"),
      nextPollAt: k.time("next_poll_at"),
      /** When the job came into its present status. */
      statusSince: k.time("status_since").notNull(),
      deadline: k.time("deadline"),
      leaseUntil: k.time("lease_until"),
      leaseHolder: k.text("lease_holder"),
      scheduledAt: k.time("scheduled_at").notNull(),
      startedAt: k.time("started_at"),
      completedAt: k.time("completed_at"),
      verificationStatus: k
        .oneOf("verification_status", ["pending", "success", "failed", "skipped"])
        .notNull()
        .default("pending"),
      verifiedAt: k.time("verified_at"),
      verificationFingerprint: k.text("verification_fingerprint"),
      verificationExpected: k.text("verification_expected"),
      verificationError: k.text("verification_error"),
      createdAt: createdAt(k),
    },
    (t) => [
      // Each filter of the list has the order of its pages behind it.
      k.index("idx_jobs_status_created_at").on(t.status, t.createdAt, t.id),
      k.index("idx_jobs_type").on(t.type, t.createdAt, t.id),
      k.index("idx_jobs_certificate_id").on(t.certificateId, t.createdAt, t.id),
      // Most issuances are of no target, agent or roll-out.
      k.index("idx_jobs_target_id").on(t.targetId, t.createdAt, t.id).where(sql`target_id is not null`),
      k.index("idx_jobs_agent_id").on(t.agentId, t.createdAt, t.id).where(sql`agent_id is not null`),
      k.index("idx_jobs_rollout_id").on(t.rolloutId).where(sql`rollout_id is not null`),
      k.index("idx_jobs_created_at").on(t.createdAt, t.id),
      // What agents and loops look for, among the many that are over: what an agent is to do, what may be claimed, whose server died,
      // what has failed, what of that is to be tried again, and what has waited for long. Worded so that only these queries are served by them, and by nothing else (unindexed.ts).
      k
        .index("idx_jobs_agent_open")
        .on(t.agentId, t.status, t.createdAt, t.id)
        .where(sql`(status || '') in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running')`),
      k
        .index("idx_jobs_claimable")
        .on(t.createdAt, t.id)
        .where(
          sql`(status || '') = 'Pending' and ((type || '') in ('Issuance', 'Renewal') or ((type || '') = 'Deployment' and target_id is null))`,
        ),
      k
        .index("idx_jobs_lease_until")
        .on(t.leaseUntil, t.id)
        .where(sql`(status || '') = 'Running' and (type || '') in ('Issuance', 'Renewal')`),
      k.index("idx_jobs_failed").on(t.completedAt, t.id).where(sql`(status || '') = 'Failed'`),
      k
        .index("idx_jobs_retryable")
        .on(t.type, t.completedAt, t.id)
        .where(sql`(status || '') = 'Failed' and attempts < max_attempts`),
      k.index("idx_jobs_held").on(t.createdAt, t.id).where(sql`(status || '') = 'Pending' and hold is not null`),
      k
        .index("idx_jobs_waiting")
        .on(t.status, t.statusSince, t.id)
        .where(sql`(status || '') in ('AwaitingCSR', 'AwaitingApproval')`),
      // At most one open issuance per certificate and agent, whoever asks: two servers cannot both order.
      k
        .uniqueIndex("uq_jobs_open_issuance")
        .on(t.certificateId, sql`coalesce(agent_id, '')`)
        .where(
          sql`type in ('Issuance', 'Renewal') and status in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running')`,
        ),
    ],
  )
  const observations = k.table(
    "observations",
    {
      id: k.text("id").primaryKey(),
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id, { onDelete: "cascade" }),
      targetId: k.text("target_id").references(() => deploymentTargets.id, { onDelete: "cascade" }),
      endpoint: k.text("endpoint").notNull().default(""),
      /** delivered: the agent read the files back. served: the fingerprint seen on the wire. trusted: chain, name and revocation checked. */
      kind: k.oneOf("kind", ["delivered", "served", "trusted"]).notNull(),
      fingerprint: k.text("fingerprint").notNull().default(""),
      ok: k.bool("ok").notNull(),
      detail: k.text("detail").notNull().default(""),
      observer: k.text("observer").notNull(),
      observedAt: k.time("observed_at").notNull(),
    },
    (t) => [
      k.index("idx_observations_certificate_id").on(t.certificateId, t.targetId, t.kind, t.observedAt),
      k.index("idx_observations_target_id").on(t.targetId),
      k.index("idx_observations_observed_at").on(t.observedAt),
    ],
  )
  return { rollouts, jobs, observations }
}

export type JobTables = ReturnType<typeof jobTables>
