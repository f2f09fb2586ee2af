/** Policies, profiles, renewal policies and agent groups. */
import type { Frame } from "../../parts/layout"
import { type AgentGroupRow, agentGroupPage, agentGroupSections, agentGroupsPage } from "../agent-groups.page"
import {
  type PolicyProps,
  type PolicyRow,
  policiesPage,
  policyKinds,
  policyPage,
  policySections,
} from "../policies.page"
import { profileSections, profilesPage } from "../profiles.page"
import { renewalPoliciesPage, renewalPolicySections } from "../renewal-policies.page"
import { chooseKindPage, resourceFormPage } from "../resource-form.page"
import {
  ago,
  anonymous,
  at,
  DAY,
  deletion,
  list,
  longName,
  MINUTE,
  noRows,
  option,
  paging,
  type Samples,
  viewer,
} from "./frame.sample"

const policyRow = (name: string, changes: Partial<PolicyRow> = {}): PolicyRow => ({
  id: `pr-${name.slice(0, 4).toLowerCase()}`,
  name,
  typeWords: "Allowed domains",
  summary: "Names within example.com, *.example.com, example.org and 4 more",
  severity: "Error",
  enabled: true,
  violations: 12,
  createdAt: ago(40 * DAY),
  updatedAt: ago(2 * DAY),
  ...changes,
})

const policyRows = [
  policyRow("Our domains only"),
  policyRow("Ninety days at most", {
    typeWords: "Certificate lifetime",
    summary: "Valid for at most 90 days",
    severity: "Critical",
    violations: 0,
  }),
  policyRow(longName, {
    typeWords: "Required tags",
    summary: "Tagged with cost-centre",
    severity: "Warning",
    enabled: false,
    violations: 0,
  }),
]

const policy = (frame: Frame, changes: Partial<PolicyProps> = {}): PolicyProps => ({
  frame,
  policy: policyRow("Our domains only"),
  state: list("/policies/pr-our"),
  paging: { page: 1, pageSize: 50, total: 2 },
  violations: ["shop.example.net", "a-very-long-host-name.with.many.labels.in.the.internal.zone.example.net"].map(
    (commonName, index) => ({
      id: `pv-${index}`,
      certificate: { id: `mc-${index}`, commonName },
      message: `not among the allowed domains: ${commonName}; allowed: example.com, *.example.com, example.org, *.example.org, example.net and 2 more`,
      createdAt: ago(3 * DAY),
    }),
  ),
  deletion: deletion("Our domains only"),
  ...changes,
})

const groupRow = (name: string, changes: Partial<AgentGroupRow> = {}): AgentGroupRow => ({
  id: `ag-${name.slice(0, 4).toLowerCase()}`,
  name,
  description: "Everything that ends TLS for customers",
  criteria: ["OS linux", "architecture x64", "address 10.2.0.0/16"],
  enabled: true,
  members: 14,
  renewalPolicies: 2,
  createdAt: ago(90 * DAY),
  ...changes,
})

const member = (name: string, health: "Online" | "Offline") => ({
  id: `agent-${name}`,
  name,
  hostname: `${name}.dc1.example.com`,
  health,
  os: "linux",
  architecture: "x64",
  version: "0.1.0",
  lastHeartbeatAt: health === "Online" ? ago(20_000) : ago(300 * MINUTE),
})

const up = { label: "Policies", href: "/policies" }
const issuers = [option("iss-1", "Let's Encrypt"), option("iss-2", "Local CA")]

export const ruleSamples: Samples = {
  policies: () =>
    policiesPage({
      frame: at("/policies"),
      state: list("/policies?page=2"),
      paging,
      rows: policyRows,
      severities: [
        { severity: "Error", enabled: true, n: 4 },
        { severity: "Critical", enabled: true, n: 1 },
        { severity: "Warning", enabled: false, n: 2 },
      ],
    }),
  "policies-viewer": () =>
    policiesPage({
      frame: at("/policies", viewer),
      state: list("/policies"),
      paging,
      rows: policyRows,
      severities: [],
    }),
  "policies-empty": () =>
    policiesPage({ frame: at("/policies"), state: list("/policies"), paging: noRows, rows: [], severities: [] }),
  policy: () => policyPage(policy(at("/policies/pr-our", { notice: { key: "saved" } }))),
  "policy-kept": () => policyPage(policy(at("/policies/pr-our", viewer), { violations: [], paging: noRows })),
  "policy-kinds": () =>
    chooseKindPage({ frame: at("/policies/new"), title: "New rule", up, path: "/policies/new", kinds: policyKinds }),
  "policy-new": () =>
    resourceFormPage({
      frame: at("/policies/new?type=AllowedIssuers"),
      title: "New rule: Allowed issuers",
      up,
      action: "/policies/new",
      submit: "Create rule",
      fixed: { type: "AllowedIssuers" },
      sections: policySections("AllowedIssuers", issuers),
      values: { severity: "Warning", enabled: "true" },
      errors: {},
    }),
  "policy-new-errors": () =>
    resourceFormPage({
      frame: at("/policies/new?type=AllowedDomains"),
      title: "New rule: Allowed domains",
      up,
      action: "/policies/new",
      submit: "Create rule",
      fixed: { type: "AllowedDomains" },
      sections: policySections("AllowedDomains", issuers),
      values: { name: "Ours", severity: "Error", "config.allowed_domains": "not a domain" },
      errors: { "config.allowed_domains": "Must be a name such as example.com or *.example.com" },
    }),
  profiles: () =>
    profilesPage({
      frame: at("/profiles"),
      state: list("/profiles"),
      paging: { page: 1, pageSize: 50, total: 2 },
      rows: [
        {
          id: "prof-1",
          name: "Web server",
          description: "Public names, served to browsers",
          keys: ["ECDSA 256+", "RSA 2048+"],
          maxTtlWords: "90 days",
          shortLived: false,
          requiresApproval: true,
          mustStaple: false,
          ekus: ["serverAuth"],
          enabled: true,
          certificates: 812,
        },
        {
          id: "prof-2",
          name: longName,
          description: "",
          keys: ["ECDSA 256+", "RSA 3072+", "Ed25519"],
          maxTtlWords: null,
          shortLived: false,
          requiresApproval: false,
          mustStaple: false,
          ekus: ["serverAuth", "clientAuth", "codeSigning"],
          enabled: false,
          certificates: 0,
        },
      ],
    }),
  "profile-edit": () =>
    resourceFormPage({
      frame: at("/profiles/prof-1/edit"),
      title: "Edit Web server",
      up: { label: "Profiles", href: "/profiles" },
      action: "/profiles/prof-1/edit",
      submit: "Save changes",
      sections: profileSections,
      values: {
        name: "Web server",
        key_ecdsa: "256",
        ttl: "2",
        ttl_unit: "86400",
        allow_short_lived: "true",
        allowed_ekus: ["serverAuth"],
      },
      errors: { ttl: "Must be below 3600 in a profile with allow_short_lived" },
    }),
  "renewal-policies": () =>
    renewalPoliciesPage({
      frame: at("/renewal-policies"),
      state: list("/renewal-policies"),
      paging: { page: 1, pageSize: 50, total: 2 },
      rows: [
        {
          id: "rp-1",
          name: "Standard",
          windowDays: 30,
          autoRenew: true,
          retryWords: "3 retries, 1 h apart",
          thresholds: [30, 14, 7, 0],
          group: null,
          certificates: 900,
          createdAt: ago(200 * DAY),
        },
        {
          id: "rp-2",
          name: "By hand",
          windowDays: 1,
          autoRenew: false,
          retryWords: "no retries",
          thresholds: [],
          group: { id: "ag-1", name: longName },
          certificates: 0,
          createdAt: ago(3 * DAY),
        },
      ],
    }),
  "renewal-policy-edit": () =>
    resourceFormPage({
      frame: at("/renewal-policies/rp-1/edit"),
      title: "Edit Standard",
      up: { label: "Renewal policies", href: "/renewal-policies" },
      action: "/renewal-policies/rp-1/edit",
      submit: "Save changes",
      sections: renewalPolicySections([option("ag-1", "Edge")]),
      values: {
        name: "Standard",
        renewal_window_days: "30",
        auto_renew: "true",
        "alert_channels.critical": ["PagerDuty"],
      },
      errors: {},
    }),
  "agent-groups": () =>
    agentGroupsPage({
      frame: at("/agent-groups"),
      state: list("/agent-groups"),
      paging: { page: 1, pageSize: 50, total: 2 },
      rows: [
        groupRow("Edge, Europe"),
        groupRow(longName, { description: "", criteria: [], enabled: false, members: 0, renewalPolicies: 0 }),
      ],
    }),
  "agent-groups-empty": () =>
    agentGroupsPage({ frame: at("/agent-groups", anonymous), state: list("/agent-groups"), paging: noRows, rows: [] }),
  "agent-group": () =>
    agentGroupPage({
      frame: at("/agent-groups/ag-edge"),
      group: groupRow("Edge, Europe"),
      members: [member("edge-1", "Online"), member("edge-3", "Offline")],
      deletion: deletion("Edge, Europe"),
    }),
  "agent-group-empty": () =>
    agentGroupPage({
      frame: at("/agent-groups/ag-edge", viewer),
      group: groupRow("Edge, Europe", { members: 0, renewalPolicies: 0 }),
      members: [],
      deletion: deletion("Edge, Europe"),
    }),
  "agent-group-new": () =>
    resourceFormPage({
      frame: at("/agent-groups/new"),
      title: "New agent group",
      up: { label: "Agent groups", href: "/agent-groups" },
      action: "/agent-groups/new",
      submit: "Create agent group",
      sections: agentGroupSections,
      values: { enabled: "true", match_ip_cidr: "10.0.0.0/99" },
      errors: {
        match_ip_cidr: "Must be an IP address or a range such as 10.0.0.0/8 or 2001:db8::/32",
        form: "Nothing was saved.",
      },
    }),
}
