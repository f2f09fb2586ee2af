/** Jobs and the audit trail. */
import { auditPage } from "../audit.page"
import { jobPage } from "../job.page"
import { jobsPage } from "../jobs.page"
import type { AuditRow, JobRow } from "../views"
import { ago, at, DAY, list, MINUTE, noRows, type Samples, viewer } from "./frame.sample"

export const fingerprint = "9f2b1c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809"

export const job = (changes: Partial<JobRow> = {}): JobRow => ({
  id: "job-0195a0",
  type: "Deployment",
  status: "Completed",
  certificate: { id: "mc-api", commonName: "api.example.com" },
  target: { id: "t-1", name: "edge-1 nginx" },
  agent: { id: "agent-edge-1", name: "edge-1" },
  attempts: 1,
  maxAttempts: 3,
  hold: null,
  lastError: null,
  createdAt: ago(14 * MINUTE),
  scheduledAt: ago(14 * MINUTE),
  startedAt: ago(13 * MINUTE),
  completedAt: ago(12 * MINUTE),
  verification: "success",
  requestedBy: "ops-lead",
  ...changes,
})

const failedJob = job({
  id: "job-0195a1",
  status: "Failed",
  attempts: 3,
  lastError:
    'nginx -t failed: nginx: [emerg] cannot load certificate "/etc/nginx/tls/shop.pem": BIO_new_file() failed (SSL: error:80000002: No such file or directory)',
  verification: "pending",
  certificate: { id: "mc-shop", commonName: "shop.example.com" },
})

export const jobs: JobRow[] = [
  job({
    id: "job-1",
    type: "Renewal",
    status: "Running",
    target: null,
    completedAt: null,
    verification: null,
    requestedBy: null,
  }),
  job({
    id: "job-2",
    type: "Renewal",
    status: "AwaitingApproval",
    target: null,
    agent: null,
    attempts: 0,
    startedAt: null,
    completedAt: null,
    verification: null,
    certificate: { id: "mc-pay", commonName: "payments.example.com" },
  }),
  job(),
  failedJob,
  job({
    id: "job-4",
    type: "Issuance",
    status: "AwaitingCSR",
    target: null,
    startedAt: null,
    completedAt: null,
    verification: null,
  }),
  job({ id: "job-5", status: "Cancelled", lastError: "cancelled by user", verification: "skipped" }),
]

export const audit: AuditRow[] = [
  {
    id: "ae-1",
    action: "deployment_job_completed",
    actor: "agent-edge-1",
    actorType: "Agent",
    resourceType: "job",
    resourceId: "job-0195a0",
    details: { target_id: "t-1", attempts: 1 },
    at: ago(12 * MINUTE),
  },
  {
    id: "ae-2",
    action: "renewal_triggered",
    actor: "ops-lead",
    actorType: "User",
    resourceType: "certificate",
    resourceId: "mc-api",
    details: {},
    at: ago(14 * MINUTE),
  },
  {
    id: "ae-3",
    action: "certificate_revoked",
    actor: "ops-lead",
    actorType: "User",
    resourceType: "certificate",
    resourceId: "mc-old",
    details: { reason: "superseded", serials: ["0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"] },
    at: ago(3 * DAY),
  },
  {
    id: "ae-4",
    action: "api_get",
    actor: "",
    actorType: "User",
    resourceType: "api",
    resourceId: "/api/v1/certificates",
    details: { method: "GET", path: "/api/v1/certificates", status: 200, latency_ms: 3 },
    at: ago(3 * DAY),
  },
]

export const activitySamples: Samples = {
  jobs: () =>
    jobsPage({ frame: at("/jobs"), state: list("/jobs"), paging: { page: 1, pageSize: 50, total: 6 }, rows: jobs }),
  "jobs-viewer-filtered": () =>
    jobsPage({
      frame: at("/jobs?status=Failed&certificate_id=mc-1", viewer),
      state: list("/jobs?status=Failed&certificate_id=mc-1"),
      paging: noRows,
      rows: [],
    }),
  job: () =>
    jobPage({
      frame: at("/jobs/job-0195a0"),
      job: job(),
      approval: null,
      verification: {
        expectedFingerprint: fingerprint,
        actualFingerprint: fingerprint,
        verifiedAt: ago(12 * MINUTE),
        error: null,
      },
      steps: [],
      audit,
    }),
  "job-failed": () =>
    jobPage({
      frame: at("/jobs/job-0195a1"),
      job: failedJob,
      approval: null,
      verification: null,
      steps: [
        { name: "Snapshot of the present files", ok: true, detail: "3 files" },
        { name: "Write the new files", ok: true, detail: "/etc/nginx/tls/shop.pem, /etc/nginx/tls/shop.key" },
        { name: "Validate", ok: false, detail: "nginx -t ended with code 1" },
        { name: "Put the previous files back", ok: true, detail: "3 files, owner and mode as before" },
      ],
      audit: [],
    }),
  "job-approval": () =>
    jobPage({
      frame: at("/jobs/job-2"),
      job: jobs[1] ?? job(),
      approval: null,
      verification: null,
      steps: [],
      audit: [],
    }),
  audit: () =>
    auditPage({
      frame: at("/audit"),
      state: list("/audit?range=7d"),
      paging: { page: 1, pageSize: 50, total: 48211 },
      rows: audit,
    }),
  "audit-empty": () => auditPage({ frame: at("/audit"), state: list("/audit"), paging: noRows, rows: [] }),
}
