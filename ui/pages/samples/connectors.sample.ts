/** Issuers and targets. */
import type { Frame } from "../../parts/layout"
import { type IssuerProps, type IssuerRow, issuerPage, issuerSections, issuersPage } from "../issuers.page"
import { resourceFormPage } from "../resource-form.page"
import { type TargetProps, type TargetRow, targetPage, targetSections, targetsPage } from "../targets.page"
import { jobs } from "./activity.sample"
import {
  ago,
  ahead,
  anonymous,
  at,
  DAY,
  deletion,
  list,
  longName,
  MINUTE,
  noRows,
  option,
  type Samples,
  viewer,
} from "./frame.sample"

const issuerRow = (name: string, changes: Partial<IssuerRow> = {}): IssuerRow => ({
  id: `iss-${name.slice(0, 4).toLowerCase()}`,
  name,
  typeLabel: "ACME",
  enabled: true,
  test: { status: "success", at: ago(4 * MINUTE) },
  isFromEnvironment: false,
  certificates: 812,
  createdAt: ago(200 * DAY),
  ...changes,
})

const issued = [
  { id: "mc-1", commonName: "shop.example.com", status: "Expiring", expiresAt: ahead(9) },
  {
    id: "mc-2",
    commonName: "a-very-long-host-name.with.many.labels.in.the.internal.zone.example.com",
    status: "Active",
    expiresAt: ahead(61),
  },
]

const issuer = (frame: Frame, changes: Partial<IssuerProps> = {}): IssuerProps => ({
  frame,
  issuer: { ...issuerRow("Let's Encrypt"), updatedAt: ago(DAY) },
  config: [
    ["Directory URL", "https://acme-v02.api.letsencrypt.org/directory"],
    ["Account e-mail", "pki@example.com"],
    ["EAB key", "********"],
  ],
  roots: [],
  issued,
  problem: null,
  deletion: deletion("Let's Encrypt"),
  ...changes,
})

const targetRow = (name: string, changes: Partial<TargetRow> = {}): TargetRow => ({
  id: `tgt-${name.slice(0, 4).toLowerCase()}`,
  name,
  typeLabel: "NGINX",
  agent: { id: "agent-edge-1", name: "edge-1" },
  status: "Enabled",
  test: { status: "untested", at: null },
  windows: [],
  certificates: 3,
  createdAt: ago(100 * DAY),
  ...changes,
})

const target = (frame: Frame, changes: Partial<TargetProps> = {}): TargetProps => ({
  frame,
  target: { ...targetRow("edge-1 nginx"), updatedAt: ago(DAY), retiredReason: null },
  config: [
    ["Certificate file", "/etc/nginx/tls/a/rather/long/path/to/the/files/of/this/site.pem"],
    ["Key file", "********"],
    ["Proof on the wire", '{"endpoint":"www.example.com:443","timeout":"10s","server_name":"www.example.com"}'],
  ],
  mapped: issued,
  deployments: jobs.slice(2, 4),
  problem: null,
  deletion: deletion("edge-1 nginx"),
  ...changes,
})

const secrets = [
  {
    title: "Configuration",
    fields: [
      { kind: "text", name: "config.addr", label: "Address", required: true, mono: true },
      { kind: "secret", name: "config.token", label: "Token", required: true, hint: "******** keeps what is stored." },
      { kind: "secret", name: "config.private_key", label: "Private key", lines: true },
      { kind: "number", name: "config.port", label: "Port", min: 1, max: 65_535, placeholder: "443" },
    ],
  },
  {
    title: "More settings",
    folded: true,
    fields: [{ kind: "lines", name: "config.labels", label: "Labels", hint: "As JSON" }],
  },
] as const

export const connectorSamples: Samples = {
  issuers: () =>
    issuersPage({
      frame: at("/issuers"),
      state: list("/issuers"),
      paging: { page: 1, pageSize: 50, total: 3 },
      rows: [
        issuerRow("Let's Encrypt"),
        issuerRow("Local CA", {
          typeLabel: "Local CA",
          isFromEnvironment: true,
          test: { status: "untested", at: null },
        }),
        issuerRow(longName, { enabled: false, test: { status: "failed", at: ago(DAY) }, certificates: 0 }),
      ],
    }),
  "issuers-anonymous": () =>
    issuersPage({ frame: at("/issuers", anonymous), state: list("/issuers"), paging: noRows, rows: [] }),
  issuer: () => issuerPage(issuer(at("/issuers/iss-let"))),
  "issuer-roots": () =>
    issuerPage(
      issuer(at("/issuers/iss-local"), {
        roots: [
          { ski: "5f".repeat(20), state: "active", notAfter: ahead(3650), createdAt: ago(DAY) },
          { ski: "1a".repeat(20), state: "former", notAfter: ahead(300), createdAt: ago(3000 * DAY) },
          { ski: "07".repeat(20), state: "retired", notAfter: ahead(20), createdAt: ago(3300 * DAY) },
        ],
      }),
    ),
  "issuer-failed": () =>
    issuerPage(
      issuer(at("/issuers/iss-let"), {
        problem: "issuer Let's Encrypt cannot be used: connect ECONNREFUSED 192.0.2.1:443",
        issued: [],
      }),
    ),
  "issuer-viewer": () => issuerPage(issuer(at("/issuers/iss-let", viewer), { config: [] })),
  "issuer-edit": () =>
    resourceFormPage({
      frame: at("/issuers/iss-vault/edit"),
      title: "Edit Vault",
      up: { label: "Vault", href: "/issuers/iss-vault" },
      action: "/issuers/iss-vault/edit",
      submit: "Save changes",
      sections: issuerSections(secrets),
      values: { name: "Vault", enabled: "true", "config.addr": "https://vault.example.com", "config.token": "" },
      errors: { "config.token": "Type it again: a secret is not shown twice", "config.port": "Must be at most 65535" },
    }),
  targets: () =>
    targetsPage({
      frame: at("/targets"),
      state: list("/targets"),
      paging: { page: 1, pageSize: 50, total: 3 },
      rows: [
        targetRow("edge-1 nginx", { test: { status: "success", at: ago(MINUTE) } }),
        targetRow("edge-0 nginx", { status: "Retired", certificates: 0 }),
        targetRow(longName, { status: "Disabled", test: { status: "failed", at: ago(DAY) } }),
      ],
    }),
  "targets-empty": () => targetsPage({ frame: at("/targets"), state: list("/targets"), paging: noRows, rows: [] }),
  target: () => targetPage(target(at("/targets/tgt-edge"))),
  "target-retired": () =>
    targetPage(
      target(at("/targets/tgt-edge"), {
        target: {
          ...targetRow("edge-0 nginx", { status: "Retired" }),
          updatedAt: ago(DAY),
          retiredReason: "the host is gone",
        },
        mapped: [],
        deployments: [],
        problem: "its agent edge-1 was retired on 2026-02-10T09:30:00.000Z",
      }),
    ),
  "target-new": () =>
    resourceFormPage({
      frame: at("/targets/new?type=NGINX"),
      title: "New target: NGINX",
      up: { label: "Targets", href: "/targets" },
      action: "/targets/new",
      submit: "Create target",
      fixed: { type: "NGINX" },
      sections: targetSections([option("agent-1", "edge-1")], secrets),
      values: { enabled: "true" },
      errors: {},
    }),
}
