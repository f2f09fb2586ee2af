/** Approvals: the lists, one request before and after its decision, and the questions about it. */
import { approveQuestion, refuseQuestion } from "../../parts/decision"
import { approvalPage, approvalsPage } from "../approvals.page"
import { confirmPage } from "../confirm.page"
import { jobPage } from "../job.page"
import type { ApprovalRow } from "../views"
import { audit, job } from "./activity.sample"
import { ago, anonymous, at, DAY, list, longName, MINUTE, noRows, type Samples, viewer } from "./frame.sample"

const own = "two-person integrity: you asked for this yourself, so another person must decide"

export const approval = (changes: Partial<ApprovalRow> = {}): ApprovalRow => ({
  id: "ar-0195a0",
  state: "pending",
  jobId: "job-2",
  certificate: { id: "mc-pay", commonName: "payments.example.com" },
  sans: ["payments.example.com", "pay.example.com", "ledger.example.com", "cards.example.com"],
  issuer: { id: "iss-1", name: "Let's Encrypt" },
  profile: { id: "prof-high", name: "high-security" },
  requestedBy: "ines.carvalho",
  createdAt: ago(26 * 3_600_000),
  decidedBy: null,
  decidedAt: null,
  note: null,
  objections: { approve: null, reject: null },
  ...changes,
})

const waiting = [
  approval(),
  approval({
    id: "ar-2",
    requestedBy: "ops-lead",
    certificate: { id: "mc-id", commonName: "identity.example.com" },
    sans: [],
    createdAt: ago(4 * MINUTE),
    objections: { approve: own, reject: own },
  }),
  approval({ id: "ar-3", requestedBy: null, certificate: { id: "mc-vpn", commonName: "vpn.example.com" } }),
]

const decided = [
  approval({ id: "ar-4", state: "approved", decidedBy: "kofi.mensah", decidedAt: ago(DAY), note: "change 4711" }),
  approval({ id: "ar-5", state: "rejected", decidedBy: "kofi.mensah", decidedAt: ago(2 * DAY), note: longName }),
  approval({
    id: "ar-6",
    state: "expired",
    decidedBy: "system",
    decidedAt: ago(9 * DAY),
    note: "approval_timeout: AwaitingApproval for 168.0 hours",
  }),
]

const up = { label: "Request", href: "/approvals/ar-0195a0" }

export const approvalSamples: Samples = {
  approvals: () =>
    approvalsPage({
      frame: at("/approvals", { counts: { awaitingApproval: 5, deadNotifications: 0 } }),
      state: list("/approvals"),
      paging: { page: 1, pageSize: 50, total: 3 },
      rows: waiting,
      pending: 3,
    }),
  "approvals-decided": () =>
    approvalsPage({
      frame: at("/approvals?state=all"),
      state: list("/approvals?state=all"),
      paging: { page: 1, pageSize: 50, total: 3 },
      rows: decided,
      pending: 1,
    }),
  "approvals-empty": () =>
    approvalsPage({
      frame: at("/approvals", anonymous),
      state: list("/approvals"),
      paging: noRows,
      rows: [],
      pending: 0,
    }),
  approval: () => approvalPage({ frame: at("/approvals/ar-0195a0"), request: approval(), audit }),
  "approval-own": () => approvalPage({ frame: at("/approvals/ar-2"), request: waiting[1] ?? approval(), audit: [] }),
  "approval-rejected": () =>
    approvalPage({ frame: at("/approvals/ar-5", viewer), request: decided[1] ?? approval(), audit }),
  "job-approval-request": () =>
    jobPage({
      frame: at("/jobs/job-2"),
      job: job({ status: "AwaitingApproval", type: "Renewal", requestedBy: "ines.carvalho", completedAt: null }),
      approval: approval(),
      verification: null,
      steps: [],
      audit: [],
    }),
  "approval-question": () => confirmPage(at("/approvals/ar-0195a0/approve"), approveQuestion(approval()), up),
  "approval-refusal": () => confirmPage(at("/approvals/ar-0195a0/reject"), refuseQuestion(approval()), up),
}
