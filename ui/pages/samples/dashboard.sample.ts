/** The dashboard: busy, calm and on the first day. */
import type { AttentionItem } from "../../parts/attention"
import type { Frame } from "../../parts/layout"
import { type DashboardProps, dashboardPage } from "../dashboard.page"
import { jobs } from "./activity.sample"
import { ago, ahead, anonymous, at, DAY, MINUTE, noCounts, now, reference, type Samples } from "./frame.sample"

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
  { kind: "approvals", count: 2, oldestAt: ago(26 * 3_600_000), firstExpiresAt: ahead(12) },
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

export const dashboardSamples: Samples = {
  dashboard: () => dashboardPage(dashboard(at("/"))),
  "dashboard-calm": () =>
    dashboardPage(
      dashboard(at("/", { demo: false, counts: noCounts }), {
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
}
