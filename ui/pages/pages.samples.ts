/** One specimen of every page in its telling states, for the tests that look at all pages. Never served. */
import type { AttentionItem } from "../parts/attention"
import type { Evidence } from "../parts/evidence"
import type { Frame } from "../parts/layout"
import { listState } from "../parts/list-state"
import type { Markup } from "../parts/markup"
import { type AgentProps, agentPage, retireQuestion } from "./agent.page"
import { agentJoinPage } from "./agent-join.page"
import { type AgentRow, agentsPage } from "./agents.page"
import { auditPage } from "./audit.page"
import { type CertificateProps, certificatePage } from "./certificate.page"
import { archiveQuestion, revokeQuestion } from "./certificate.questions"
import { newCertificatePage } from "./certificate-new.page"
import { type CertificateRow, certificatesPage } from "./certificates.page"
import { confirmPage } from "./confirm.page"
import { type DashboardProps, dashboardPage } from "./dashboard.page"
import { jobPage } from "./job.page"
import { jobsPage } from "./jobs.page"
import { bareMessagePage, messagePage } from "./message.page"
import { signInPage } from "./sign-in.page"
import type { AuditRow, JobRow, TargetEvidence } from "./views"

const now = new Date("2026-03-12T09:30:00Z")
const MINUTE = 60_000
const DAY = 86_400_000
const ago = (milliseconds: number) => new Date(now.getTime() - milliseconds)
const ahead = (days: number) => new Date(now.getTime() + days * DAY)

export const sampleFrame = (url: string, changes: Partial<Frame> = {}): Frame => ({
  assets: { css: "/assets/console.css", loader: "/assets/loader.js" },
  url,
  theme: "system",
  actor: { name: "ops-lead", role: "admin" },
  version: "0.1.0",
  counts: { awaitingApproval: 2 },
  demo: true,
  notice: null,
  now,
  ...changes,
})

const reference = (commonName: string, days: number) => ({
  id: `mc-${commonName.split(".")[0]}`,
  commonName,
  expiresAt: ahead(days),
})

const attention: AttentionItem[] = [
  {
    kind: "renewal-failing",
    certificate: reference("payments.example.com", 3.2),
    failedAttempts: 4,
    lastError:
      "ACME order: urn:ietf:params:acme:error:rateLimited: too many certificates already issued for example.com",
    jobId: "job-0195a1",
  },
  {
    kind: "agent-silent",
    agent: { id: "agent-edge-3", name: "edge-3" },
    lastHeartbeatAt: ago(5 * 3_600_000),
    dependents: [reference("shop.example.com", 9), reference("www.example.com", 21)],
    dependentCount: 5,
  },
  {
    kind: "mismatch",
    certificate: reference("api.example.com", 61),
    target: { id: "t-1", name: "edge-2 nginx" },
    observedAt: ago(4 * MINUTE),
  },
  { kind: "no-automation", certificate: reference("legacy-vpn.example.com", 17), reason: "manual" },
  { kind: "approvals", count: 2, oldestAt: ago(26 * 3_600_000) },
]

const job = (changes: Partial<JobRow> = {}): JobRow => ({
  id: "job-0195a0",
  type: "Deployment",
  status: "Completed",
  certificate: { id: "mc-api", commonName: "api.example.com" },
  target: { id: "t-1", name: "edge-1 nginx" },
  agent: { id: "agent-edge-1", name: "edge-1" },
  attempts: 1,
  maxAttempts: 3,
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

const jobs: JobRow[] = [
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

const audit: AuditRow[] = [
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

const days = (count: number, from: number) =>
  Array.from({ length: count }, (_, index) => ({
    index,
    date: ahead(from + index)
      .toISOString()
      .slice(0, 10),
  }))

const dashboard = (frame: Frame, changes: Partial<DashboardProps> = {}): DashboardProps => ({
  frame,
  attention,
  nextRenewal: { id: "mc-blog", commonName: "blog.example.com", at: new Date(now.getTime() + 4 * 3_600_000) },
  summary: {
    totalCertificates: 1284,
    expiringCertificates: 37,
    expiredCertificates: 2,
    activeAgents: 23,
    totalAgents: 24,
    pendingJobs: 6,
    notificationsDead: 1,
  },
  byStatus: [
    { status: "Active", count: 1198 },
    { status: "Expiring", count: 37 },
    { status: "Expired", count: 2 },
    { status: "RenewalInProgress", count: 9 },
    { status: "Pending", count: 4 },
    { status: "Revoked", count: 12 },
    { status: "Archived", count: 22 },
  ],
  expirations: days(90, 0).map(({ index, date }) => ({ date, count: index % 11 === 3 ? 6 : index % 4 === 0 ? 2 : 0 })),
  jobTrend: days(30, -29).map(({ index, date }) => ({
    date,
    completed: 14 + ((index * 7) % 9),
    failed: index % 9 === 4 ? 3 : index % 5 === 0 ? 1 : 0,
  })),
  issuance: days(30, -29).map(({ index, date }) => ({ date, issued: (index * 5) % 13 })),
  proofs: [
    {
      certificate: { id: "mc-www", commonName: "www.example.com" },
      target: { name: "edge-1 nginx", endpoint: "www.example.com:443" },
      agent: { name: "edge-1" },
      served: { state: "confirmed", observedAt: ago(720_000), observer: "edge-1", detail: "" },
    },
  ],
  expiringNext: [
    {
      ...reference("payments.example.com", 3.2),
      status: "Failed",
      owner: "Payments",
      renewal: { kind: "automatic", at: ago(DAY) },
    },
    {
      ...reference("shop.example.com", 9),
      status: "Active",
      owner: "Web shop",
      renewal: { kind: "automatic", at: ago(27 * DAY) },
    },
    { ...reference("legacy-vpn.example.com", 17), status: "Active", owner: "Network", renewal: { kind: "manual" } },
    {
      ...reference("www.example.com", 21),
      status: "Active",
      owner: "Web shop",
      renewal: { kind: "approval", at: ago(DAY) },
    },
    {
      ...reference("mail.example.com", 44),
      status: "Active",
      owner: null,
      renewal: { kind: "automatic", at: ahead(14) },
    },
  ],
  recentJobs: jobs.slice(0, 5),
  setup: null,
  ...changes,
})

const certificateRow = (commonName: string, changes: Partial<CertificateRow> = {}): CertificateRow => ({
  id: `mc-${commonName.split(".")[0]}`,
  name: commonName.replaceAll(".", "-"),
  commonName,
  sanCount: 2,
  status: "Active",
  environment: "production",
  expiresAt: ahead(71),
  renewal: { kind: "automatic", at: ahead(41) },
  lastRenewalAt: ago(19 * DAY),
  lastDeploymentAt: ago(19 * DAY),
  proof: { verified: 2, mismatched: 0, targets: 2 },
  issuer: { id: "iss-1", name: "Let's Encrypt" },
  owner: { id: "o-1", name: "Web shop" },
  ...changes,
})

const certificateRows: CertificateRow[] = [
  certificateRow("payments.example.com", {
    status: "Expiring",
    expiresAt: ahead(3.2),
    renewal: { kind: "approval", at: ago(DAY) },
    owner: { id: "o-2", name: "Payments" },
  }),
  certificateRow("shop.example.com", {
    status: "RenewalInProgress",
    expiresAt: ahead(9),
    renewal: { kind: "automatic", at: ahead(0) },
    proof: { verified: 1, mismatched: 0, targets: 2 },
  }),
  certificateRow("legacy-vpn.example.com", {
    status: "Expiring",
    expiresAt: ahead(17),
    renewal: { kind: "manual" },
    proof: { verified: 0, mismatched: 0, targets: 0 },
    sanCount: 1,
  }),
  certificateRow("api.example.com", { proof: { verified: 1, mismatched: 1, targets: 2 } }),
  certificateRow("old-portal.example.com", {
    status: "Expired",
    expiresAt: ago(2 * DAY),
    renewal: { kind: "client", protocol: "EST" },
  }),
  certificateRow("new.example.com", {
    status: "Pending",
    expiresAt: null,
    renewal: { kind: "none" },
    lastRenewalAt: null,
    lastDeploymentAt: null,
    owner: null,
    environment: "",
    proof: { verified: 0, mismatched: 0, targets: 1 },
  }),
  ...["www", "blog", "mail", "intranet", "grafana", "registry"].map((host) => certificateRow(`${host}.example.com`)),
  certificateRow("a-very-long-host-name.with.many.labels.in.the.internal.zone.example.com"),
  certificateRow("gone.example.com", { status: "Revoked", renewal: { kind: "none" } }),
]

const option = (value: string, label: string) => ({ value, label })
const choices = {
  issuers: [option("iss-1", "Let's Encrypt"), option("iss-2", "Local CA")],
  owners: [option("o-1", "Web shop")],
  teams: [option("t-1", "Platform")],
  profiles: [option("p-1", "Web server")],
}

const evidence = (state: Evidence["state"], age: number | null, detail = "", observer = "edge-1"): Evidence => ({
  state,
  observedAt: age === null ? null : ago(age),
  observer,
  detail,
})

const goodTarget: TargetEvidence = {
  target: { id: "t-1", name: "edge-1 nginx", type: "NGINX", endpoint: "api.example.com:443", retired: false },
  agent: { id: "agent-edge-1", name: "edge-1", health: "Online" },
  delivered: evidence("confirmed", 12 * MINUTE),
  served: evidence("confirmed", 4 * MINUTE, "", "health monitor"),
  trusted: evidence("confirmed", 4 * MINUTE, "", "health monitor"),
  lastDeployment: { jobId: "job-0195a0", status: "Completed", at: ago(12 * MINUTE) },
}

const staleTarget: TargetEvidence = {
  target: { id: "t-2", name: "edge-3 haproxy", type: "HAProxy", endpoint: "10.2.0.14:8443", retired: false },
  agent: { id: "agent-edge-3", name: "edge-3", health: "Offline" },
  delivered: evidence("stale", 9 * DAY, "", "edge-3"),
  served: evidence("stale", 5 * DAY),
  trusted: evidence("missing", null),
  lastDeployment: { jobId: "job-77", status: "Completed", at: ago(9 * DAY) },
}

const wrongTarget: TargetEvidence = {
  target: { id: "t-3", name: "edge-2 nginx", type: "NGINX", endpoint: "api.example.com:443", retired: false },
  agent: { id: "agent-edge-2", name: "edge-2", health: "Online" },
  delivered: evidence("confirmed", 12 * MINUTE),
  served: evidence(
    "mismatch",
    4 * MINUTE,
    "Serves fingerprint 77aa01f3… issued by Local CA, not the deployed one. The service was probably not reloaded.",
  ),
  trusted: evidence("confirmed", 4 * MINUTE),
  lastDeployment: { jobId: "job-78", status: "Completed", at: ago(12 * MINUTE) },
}

const fingerprint = "9f2b1c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809"
const serial = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"

const certificate = (
  frame: Frame,
  changes: Partial<CertificateProps["certificate"]> = {},
  rest: Partial<CertificateProps> = {},
): CertificateProps => ({
  frame,
  certificate: {
    id: "mc-api",
    name: "public API",
    commonName: "api.example.com",
    sans: ["api.example.com", "api-v2.example.com", "192.0.2.10"],
    status: "Active",
    environment: "production",
    expiresAt: ahead(71),
    renewal: { kind: "automatic", at: ahead(41) },
    targets: [goodTarget, { ...goodTarget, target: { ...goodTarget.target, id: "t-9", name: "edge-2 nginx" } }],
    revokedAt: null,
    openJob: null,
    failedAttempts: 0,
    issuer: { id: "iss-1", name: "Let's Encrypt" },
    owner: { id: "o-1", name: "Web shop" },
    team: { id: "t-1", name: "Platform" },
    profile: { id: "p-1", name: "Web server", maxTtlWords: "90 days" },
    renewalPolicy: { id: "rp-1", name: "Standard", windowDays: 30 },
    source: null,
    tags: { tier: "1", pci: "" },
    lastRenewalAt: ago(19 * DAY),
    lastDeploymentAt: ago(12 * MINUTE),
    revocationReason: null,
    createdAt: ago(200 * DAY),
    updatedAt: ago(12 * MINUTE),
    ...changes,
  },
  steps: [
    { name: "Requested", state: "done", at: ago(14 * MINUTE), jobId: "job-1", error: null },
    { name: "Issued", state: "done", at: ago(13 * MINUTE), jobId: "job-1", error: null },
    { name: "Deploying", state: "done", at: ago(12 * MINUTE), jobId: "job-0195a0", error: null },
    { name: "Verified", state: "done", at: ago(4 * MINUTE), jobId: null, error: null },
    { name: "Active", state: "done", at: ago(4 * MINUTE), jobId: null, error: null },
  ],
  versions: [
    {
      id: "cv-2",
      serial,
      fingerprint,
      notBefore: ago(19 * DAY),
      notAfter: ahead(71),
      key: "ECDSA 256",
      agent: { id: "agent-edge-1", name: "edge-1" },
      isCurrent: true,
      isDeployable: false,
      createdAt: ago(19 * DAY),
    },
    {
      id: "cv-3",
      serial: serial.replace("0a", "1b"),
      fingerprint: fingerprint.replace("9f", "8e"),
      notBefore: ago(19 * DAY),
      notAfter: ahead(71),
      key: "ECDSA 256",
      agent: { id: "agent-edge-2", name: "edge-2" },
      isCurrent: true,
      isDeployable: false,
      createdAt: ago(19 * DAY),
    },
    {
      id: "cv-1",
      serial: serial.replace("0a", "2c"),
      fingerprint: fingerprint.replace("9f", "7d"),
      notBefore: ago(80 * DAY),
      notAfter: ahead(10),
      key: "RSA 2048",
      agent: { id: "agent-edge-1", name: "edge-1" },
      isCurrent: false,
      isDeployable: true,
      createdAt: ago(80 * DAY),
    },
  ],
  jobs: jobs.slice(2, 5),
  audit,
  canRevoke: true,
  revocationUrls: {
    crl: "http://pki.example.com/.well-known/pki/crl/iss-1",
    ocsp: "http://pki.example.com/.well-known/pki/ocsp/iss-1",
  },
  ...rest,
})

const agentRow = (name: string, changes: Partial<AgentRow> = {}): AgentRow => ({
  id: `agent-${name}`,
  name,
  hostname: `${name}.dc1.example.com`,
  health: "Online",
  os: "linux",
  architecture: "x64",
  ipAddress: "10.2.0.11",
  version: "0.1.0",
  lastHeartbeatAt: ago(20_000),
  builtIn: false,
  certificateCount: 12,
  firstExpiryAt: ahead(9),
  retiredAt: null,
  retiredReason: null,
  ...changes,
})

const silentAgent = agentRow("edge-3", { health: "Offline", lastHeartbeatAt: ago(5 * 3_600_000), certificateCount: 5 })
const retiredAgent = agentRow("edge-0", {
  health: "Retired",
  retiredAt: ago(30 * DAY),
  retiredReason: "replaced by edge-3",
  certificateCount: 0,
})
const agentRows = [
  agentRow("edge-1"),
  agentRow("edge-2"),
  silentAgent,
  agentRow("win-iis-1", { os: "windows", health: "Stale", lastHeartbeatAt: ago(8 * MINUTE) }),
  agentRow("server-scanner", {
    builtIn: true,
    hostname: "this server",
    os: "",
    architecture: "",
    ipAddress: "",
    certificateCount: 0,
    firstExpiryAt: null,
  }),
]

const agent = (frame: Frame, row: AgentRow): AgentProps => ({
  frame,
  agent: { ...row, registeredAt: ago(120 * DAY) },
  targets: [
    {
      id: "t-1",
      name: "edge nginx",
      type: "NGINX",
      certificates: [
        { id: "mc-shop", commonName: "shop.example.com", status: "Expiring", expiresAt: ahead(9) },
        { id: "mc-www", commonName: "www.example.com", status: "Active", expiresAt: ahead(61) },
      ],
    },
    { id: "t-2", name: "edge postfix", type: "Postfix", certificates: [] },
  ],
  jobs: jobs.slice(2, 4),
  discoveredCount: 7,
  dependencies: { activeTargets: 2, activeCertificates: 2, pendingJobs: 0 },
})

const at = (url: string, changes?: Partial<Frame>): Frame => sampleFrame(url, changes)
const list = (url: string) => {
  const parsed = new URL(url, "https://certctl.example")
  return listState(parsed.pathname, parsed.searchParams)
}
const paging = { page: 2, pageSize: 50, total: 1284 }
const noRows = { page: 1, pageSize: 50, total: 0 }
const newOptions = {
  ...choices,
  renewalPolicies: [option("rp-1", "Standard (30 d window)")],
  targets: [option("t-1", "edge-1 nginx"), option("t-2", "edge-2 nginx")],
}
const viewer: Partial<Frame> = { actor: { name: "auditor", role: "viewer" }, demo: false }
const anonymous: Partial<Frame> = { actor: null, demo: false, counts: { awaitingApproval: 0 } }
const issuing = { status: "AwaitingCSR", agentName: "edge-1" }

/** Page name to its markup. */
export const samplePages: Readonly<Record<string, () => Markup>> = {
  "sign-in": () => signInPage({ frame: at("/login"), back: "/", problem: null }),
  "sign-in-wrong": () => signInPage({ frame: at("/login"), back: "/certificates", problem: "wrong-key" }),
  "sign-in-expired": () => signInPage({ frame: at("/login"), back: "/certificates", problem: "expired" }),
  dashboard: () => dashboardPage(dashboard(at("/"))),
  "dashboard-calm": () =>
    dashboardPage(
      dashboard(at("/", { demo: false, counts: { awaitingApproval: 0 } }), {
        attention: [],
        summary: {
          totalCertificates: 128,
          expiringCertificates: 0,
          expiredCertificates: 0,
          activeAgents: 4,
          totalAgents: 4,
          pendingJobs: 0,
          notificationsDead: 0,
        },
      }),
    ),
  "dashboard-first-run": () =>
    dashboardPage(
      dashboard(at("/", anonymous), {
        attention: [],
        summary: {
          totalCertificates: 0,
          expiringCertificates: 0,
          expiredCertificates: 0,
          activeAgents: 0,
          totalAgents: 0,
          pendingJobs: 0,
          notificationsDead: 0,
        },
        setup: { agent: { id: "agent-edge-1", name: "edge-1" }, targets: 0 },
      }),
    ),
  certificates: () =>
    certificatesPage({
      frame: at("/certificates?sort=notAfter"),
      state: list("/certificates?sort=notAfter&page=2"),
      paging,
      rows: certificateRows,
      filters: { ...choices, environments: [option("production", "production")] },
    }),
  "certificates-viewer": () =>
    certificatesPage({
      frame: at("/certificates", viewer),
      state: list("/certificates"),
      paging,
      rows: certificateRows,
      filters: { ...choices, environments: [] },
    }),
  "certificates-filtered-empty": () =>
    certificatesPage({
      frame: at("/certificates?search=x"),
      state: list("/certificates?search=x&team_id=t-1"),
      paging: noRows,
      rows: [],
      filters: { ...choices, environments: [] },
    }),
  "certificate-new": () =>
    newCertificatePage({
      frame: at("/certificates/new"),
      options: newOptions,
      values: {},
      targetIds: [],
      issueNow: true,
      errors: {},
    }),
  "certificate-new-errors": () =>
    newCertificatePage({
      frame: at("/certificates/new"),
      options: newOptions,
      values: { common_name: "www example", name: "www" },
      targetIds: ["t-2"],
      issueNow: false,
      errors: {
        common_name: "common_name must be a host name, an IP address or a mail address",
        form: "Nothing was created: one field needs another look.",
      },
    }),
  certificate: () =>
    certificatePage(certificate(at("/certificates/mc-api", { notice: { key: "renewal-started", jobId: "job-1" } }))),
  "certificate-mixed": () =>
    certificatePage(certificate(at("/certificates/mc-api"), { targets: [goodTarget, staleTarget] })),
  "certificate-mismatch": () =>
    certificatePage(certificate(at("/certificates/mc-api"), { targets: [goodTarget, wrongTarget, staleTarget] })),
  "certificate-failing": () =>
    certificatePage(
      certificate(
        at("/certificates/mc-api"),
        { status: "Expiring", expiresAt: ahead(3.2), failedAttempts: 4, renewal: { kind: "automatic", at: ago(DAY) } },
        {
          steps: [
            { name: "Requested", state: "done", at: ago(14 * MINUTE), jobId: "job-1", error: null },
            {
              name: "Issued",
              state: "failed",
              at: ago(13 * MINUTE),
              jobId: "job-1",
              error: "too many certificates already issued for example.com",
            },
            { name: "Deploying", state: "waiting", at: null, jobId: null, error: null },
            { name: "Verified", state: "waiting", at: null, jobId: null, error: null },
            { name: "Active", state: "waiting", at: null, jobId: null, error: null },
          ],
        },
      ),
    ),
  "certificate-new-pending": () =>
    certificatePage(
      certificate(
        at("/certificates/mc-api"),
        { status: "RenewalInProgress", expiresAt: null, renewal: { kind: "none" }, targets: [], openJob: issuing },
        { versions: [], jobs: [], audit: [], revocationUrls: { crl: null, ocsp: null } },
      ),
    ),
  "certificate-revoked": () =>
    certificatePage(
      certificate(at("/certificates/mc-api", viewer), {
        status: "Revoked",
        revokedAt: ago(2 * DAY),
        revocationReason: "keyCompromise",
        renewal: { kind: "none" },
        targets: [
          { ...staleTarget, target: { ...staleTarget.target, retired: true }, agent: null, lastDeployment: null },
        ],
      }),
    ),
  "certificate-archive-question": () =>
    confirmPage(
      at("/certificates/mc-api/archive"),
      archiveQuestion({ id: "mc-api", commonName: "api.example.com", targets: [1] }),
      { label: "api.example.com", href: "/certificates/mc-api" },
    ),
  "certificate-revoke-question": () =>
    confirmPage(
      at("/certificates/mc-api/revoke"),
      {
        ...revokeQuestion({ id: "mc-api", commonName: "api.example.com", targets: [] }),
        error: "confirm must be the certificate's common name",
      },
      { label: "api.example.com", href: "/certificates/mc-api" },
    ),
  agents: () =>
    agentsPage({
      frame: at("/agents"),
      state: list("/agents"),
      paging: { page: 1, pageSize: 50, total: 5 },
      tab: "active",
      rows: agentRows,
    }),
  "agents-retired": () =>
    agentsPage({
      frame: at("/agents?tab=retired"),
      state: list("/agents?tab=retired"),
      paging: { page: 1, pageSize: 50, total: 1 },
      tab: "retired",
      rows: [retiredAgent],
    }),
  "agents-empty": () =>
    agentsPage({ frame: at("/agents"), state: list("/agents"), paging: noRows, tab: "active", rows: [] }),
  agent: () => agentPage(agent(at("/agents/agent-edge-3"), silentAgent)),
  "agent-online": () =>
    agentPage({
      ...agent(at("/agents/agent-edge-1"), agentRow("edge-1")),
      targets: [],
      jobs: [],
      dependencies: { activeTargets: 0, activeCertificates: 0, pendingJobs: 0 },
    }),
  "agent-retired": () => agentPage(agent(at("/agents/agent-edge-0"), retiredAgent)),
  "agent-retire-question": () =>
    confirmPage(
      at("/agents/agent-edge-3/retire"),
      retireQuestion(silentAgent, { activeTargets: 1, activeCertificates: 2, pendingJobs: 1 }),
      { label: "edge-3", href: "/agents/agent-edge-3" },
    ),
  "agent-join": () =>
    agentJoinPage({ frame: at("/agents/join"), serverUrl: "https://certctl.example.com:8443", created: null }),
  "agent-join-shown": () =>
    agentJoinPage({
      frame: at("/agents/join"),
      serverUrl: "https://certctl.example.com:8443",
      created: { token: `jt-0195a0.${"Zm9vYmFyYmF6".repeat(4)}.${fingerprint}`, expiresAt: ahead(1 / 24) },
    }),
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
    jobPage({ frame: at("/jobs/job-2"), job: jobs[1] ?? job(), verification: null, steps: [], audit: [] }),
  audit: () =>
    auditPage({
      frame: at("/audit"),
      state: list("/audit?range=7d"),
      paging: { page: 1, pageSize: 50, total: 48211 },
      rows: audit,
    }),
  "audit-empty": () => auditPage({ frame: at("/audit"), state: list("/audit"), paging: noRows, rows: [] }),
  "not-found": () =>
    messagePage(at("/nowhere"), { kind: "not-found", requestId: "7b0d2c1e-0000-4000-8000-000000000000" }),
  "failed-bare": () => bareMessagePage(at("/"), { kind: "failed", requestId: "7b0d2c1e-0000-4000-8000-000000000000" }),
}
