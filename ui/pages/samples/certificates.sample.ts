/** The certificate list and the form for a new one. */
import { newCertificatePage } from "../certificate-new.page"
import { type CertificateRow, certificatesPage } from "../certificates.page"
import { ago, ahead, at, DAY, list, noRows, option, paging, type Samples, viewer } from "./frame.sample"

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

const choices = {
  issuers: [option("iss-1", "Let's Encrypt"), option("iss-2", "Local CA")],
  owners: [option("o-1", "Web shop")],
  teams: [option("t-1", "Platform")],
  profiles: [option("p-1", "Web server")],
}

const newOptions = {
  ...choices,
  renewalPolicies: [option("rp-1", "Standard (30 d window)")],
  targets: [option("t-1", "edge-1 nginx"), option("t-2", "edge-2 nginx")],
}

export const certificateListSamples: Samples = {
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
}
