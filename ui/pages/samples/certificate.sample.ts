/** One certificate, from proven to revoked, and the questions about it. */
import type { Evidence } from "../../parts/evidence"
import type { Frame } from "../../parts/layout"
import { bulkReassignQuestion, bulkRevokeQuestion } from "../bulk.questions"
import { type CertificateProps, certificatePage } from "../certificate.page"
import { archiveQuestion, pkcs12Question, revokeQuestion } from "../certificate.questions"
import { confirmPage } from "../confirm.page"
import type { TargetEvidence } from "../views"
import { audit, fingerprint, jobs } from "./activity.sample"
import { approval } from "./approvals.sample"
import { ago, ahead, at, DAY, MINUTE, type Samples, viewer } from "./frame.sample"

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
  approval: null,
  audit,
  revocationUrls: {
    crl: "http://pki.example.com/.well-known/pki/crl/iss-1",
    ocsp: "http://pki.example.com/.well-known/pki/ocsp/iss-1",
  },
  ...rest,
})

const issuing = { status: "AwaitingCSR", agentName: "edge-1" }

export const certificateSamples: Samples = {
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
  "certificate-waiting": () =>
    certificatePage(
      certificate(
        at("/certificates/mc-api"),
        { openJob: { status: "AwaitingApproval", agentName: null } },
        { approval: approval({ requestedBy: null }) },
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
  "certificate-pkcs12-question": () =>
    confirmPage(
      at("/certificates/mc-api/export.p12"),
      pkcs12Question({ id: "mc-api", commonName: "api.example.com" }),
      { label: "api.example.com", href: "/certificates/mc-api" },
    ),
  "certificates-bulk-revoke-question": () =>
    confirmPage(
      at("/certificates/bulk-revoke"),
      bulkRevokeQuestion(
        Array.from({ length: 12 }, (_, n) => ({ id: `mc-${n}`, commonName: `host-${n}.example.com` })),
      ),
      { label: "Certificates", href: "/certificates" },
    ),
  "certificates-bulk-reassign-question": () =>
    confirmPage(
      at("/certificates/bulk-reassign"),
      bulkReassignQuestion([{ id: "mc-api", commonName: "api.example.com" }], {
        owners: [{ value: "o-1", label: "Ann" }],
        teams: [{ value: "t-1", label: "Platform" }],
      }),
      { label: "Certificates", href: "/certificates" },
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
}
