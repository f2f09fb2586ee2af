/** Every list of the API that can be read by cursor and searched: where its rows come from and what it is filtered by. */
import type { Tx } from "../db/db"
import type { Tables } from "../db/tables/tables"

type Row = Record<string, unknown>

export interface ListCase {
  /** Below `/api/v1`. */
  readonly path: string
  readonly table: keyof Tables
  /** Column of the time by which cursors order. */
  readonly time: string
  /** Everything that a row needs beside its id and its time. */
  readonly row: (id: string, at: Date) => Row
  /** Column behind each field that `q` looks at, with a text to look for where it cannot hold any. */
  readonly searched: Readonly<Record<string, string | readonly [column: string, value: string]>>
  /** How columns hold a text that hold more than one. */
  readonly holding?: Readonly<Record<string, (text: string) => unknown>>
  /** For each query parameter that filters by equality: the column, a value, and another one. */
  readonly filters?: Readonly<Record<string, readonly [column: string, value: unknown, other: unknown]>>
}

/** Text that no other field holds, with both characters that LIKE would take for wildcards. */
export const needleOf = (field: string) => `Nd%_${field}_Zz`

const amongOthers = (text: string) => ["first.example", text]
const stamps = (at: Date) => ({ createdAt: at, updatedAt: at })
const ofCertificate = { certificateId: "mc-a" }
const references = {
  owner_id: ["ownerId", "o-1", "o-2"],
  team_id: ["teamId", "t-1", "t-2"],
  issuer_id: ["issuerId", "iss-1", "iss-2"],
  profile_id: ["certificateProfileId", "prof-a", "prof-b"],
} as const
const certificateFilter = ["certificateId", "mc-a", "mc-b"] as const
const agentFilter = ["agentId", "agent-a", "agent-b"] as const

export const lists: readonly ListCase[] = [
  {
    path: "/teams",
    table: "teams",
    time: "createdAt",
    row: (id, at) => ({ name: id, description: "", ...stamps(at) }),
    searched: { id: "id", name: "name", description: "description" },
  },
  {
    path: "/owners",
    table: "owners",
    time: "createdAt",
    row: (id, at) => ({ name: id, email: "", ...stamps(at) }),
    searched: { id: "id", name: "name", email: "email" },
  },
  {
    path: "/profiles",
    table: "certificateProfiles",
    time: "createdAt",
    row: (id, at) => ({
      name: id,
      allowedKeyAlgorithms: [],
      allowedEkus: [],
      requiredSanPatterns: [],
      requiredCsrAttributes: [],
      ...stamps(at),
    }),
    searched: { id: "id", name: "name", description: "description" },
  },
  {
    path: "/renewal-policies",
    table: "renewalPolicies",
    time: "createdAt",
    row: (id, at) => ({
      name: id,
      renewalWindowDays: 30,
      alertThresholdsDays: [],
      alertChannels: {},
      alertSeverityMap: {},
      ...stamps(at),
    }),
    searched: { id: "id", name: "name" },
  },
  {
    path: "/issuers",
    table: "issuers",
    time: "createdAt",
    row: (id, at) => ({ name: id, type: "GenericCA", config: {}, ...stamps(at) }),
    searched: { id: "id", name: "name", type: ["type", "VaultPKI"] },
  },
  {
    path: "/targets",
    table: "deploymentTargets",
    time: "createdAt",
    row: (id, at) => ({ name: id, type: "NGINX", agentId: "agent-a", config: {}, ...stamps(at) }),
    searched: { id: "id", name: "name", type: ["type", "HAProxy"], agent_id: "agentId" },
  },
  {
    path: "/agents",
    table: "agents",
    time: "registeredAt",
    row: (id, at) => ({ name: id, hostname: "host", registeredAt: at }),
    searched: {
      id: "id",
      name: "name",
      hostname: "hostname",
      ip_address: "ipAddress",
      os: "os",
      architecture: "architecture",
      version: "version",
    },
    filters: { status: ["status", "Online", "Offline"] },
  },
  {
    path: "/agents/retired",
    table: "agents",
    time: "retiredAt",
    row: (id, at) => ({ name: id, hostname: "host", registeredAt: new Date(0), retiredAt: at }),
    searched: {
      id: "id",
      name: "name",
      hostname: "hostname",
      ip_address: "ipAddress",
      os: "os",
      architecture: "architecture",
      version: "version",
    },
  },
  {
    path: "/agents/agent-a/targets",
    table: "deploymentTargets",
    time: "createdAt",
    row: (id, at) => ({ name: id, type: "NGINX", agentId: "agent-a", config: {}, ...stamps(at) }),
    searched: { id: "id", name: "name", type: ["type", "HAProxy"] },
  },
  {
    path: "/join-tokens",
    table: "joinTokens",
    time: "createdAt",
    row: (id, at) => ({ hash: id, createdBy: "root", createdAt: at, expiresAt: at }),
    searched: { id: "id", created_by: "createdBy", agent_id: "agentId" },
  },
  {
    path: "/agent-groups",
    table: "agentGroups",
    time: "createdAt",
    row: (id, at) => ({ name: id, ...stamps(at) }),
    searched: { id: "id", name: "name", description: "description" },
  },
  {
    path: "/certificates",
    table: "certificates",
    time: "createdAt",
    row: (id, at) => ({
      name: id,
      commonName: "www.example.com",
      sans: [],
      tags: {},
      ownerId: "o-1",
      teamId: "t-1",
      issuerId: "iss-1",
      renewalPolicyId: "rp-1",
      ...stamps(at),
    }),
    searched: { id: "id", name: "name", common_name: "commonName", sans: "sans" },
    holding: { sans: amongOthers },
    filters: { ...references, status: ["status", "Active", "Failed"], environment: ["environment", "prod", "test"] },
  },
  {
    path: "/certificates/mc-a/versions",
    table: "certificateVersions",
    time: "createdAt",
    row: (id, at) => ({
      ...ofCertificate,
      serialNumber: id,
      fingerprintSha256: id,
      pemChain: "",
      notBefore: at,
      notAfter: at,
      createdAt: at,
    }),
    searched: {
      id: "id",
      serial_number: "serialNumber",
      fingerprint_sha256: "fingerprintSha256",
      agent_id: "agentId",
    },
  },
  {
    path: "/jobs",
    table: "jobs",
    time: "createdAt",
    row: (_, at) => ({ ...ofCertificate, type: "Deployment", statusSince: at, scheduledAt: at, createdAt: at }),
    searched: {
      id: "id",
      certificate_id: "certificateId",
      target_id: "targetId",
      agent_id: "agentId",
      requested_by: "requestedBy",
      last_error: "lastError",
    },
    filters: {
      status: ["status", "Failed", "Completed"],
      type: ["type", "Validation", "Deployment"],
      certificate_id: certificateFilter,
      target_id: ["targetId", "tgt-a", "tgt-b"],
      agent_id: agentFilter,
    },
  },
  {
    path: "/approvals",
    table: "approvalRequests",
    time: "createdAt",
    row: (_, at) => ({
      ...ofCertificate,
      jobId: "job-a",
      profileId: "prof-a",
      requestedBy: "root",
      state: "rejected",
      decidedAt: at,
      metadata: {},
      ...stamps(at),
    }),
    searched: { id: "id", certificate_id: "certificateId", requested_by: "requestedBy", metadata: "metadata" },
    holding: { metadata: (text) => ({ common_name: text }) },
    filters: {
      state: ["state", "approved", "rejected"],
      certificate_id: certificateFilter,
      requested_by: ["requestedBy", "alice", "bob"],
    },
  },
  {
    path: "/policies",
    table: "policyRules",
    time: "createdAt",
    row: (id, at) => ({ name: id, type: "CertificateLifetime", config: {}, ...stamps(at) }),
    searched: { id: "id", name: "name", type: ["type", "AllowedDomains"] },
  },
  {
    path: "/policies/pr-a/violations",
    table: "policyViolations",
    time: "createdAt",
    // A rule is violated at most once by a certificate: every row has one of its own, of the same id.
    row: (id, at) => ({ certificateId: id, ruleId: "pr-a", message: "no", severity: "Error", createdAt: at }),
    searched: { id: "id", certificate_id: "certificateId", message: "message" },
  },
  {
    path: "/audit",
    table: "auditEvents",
    time: "timestamp",
    row: (_, at) => ({
      actor: "root",
      actorType: "User",
      action: "tested",
      resourceType: "thing",
      resourceId: "thing-1",
      details: {},
      timestamp: at,
    }),
    searched: {
      id: "id",
      actor: "actor",
      action: "action",
      resource_type: "resourceType",
      resource_id: "resourceId",
    },
    filters: {
      actor: ["actor", "alice", "bob"],
      actor_type: ["actorType", "Agent", "System"],
      action: ["action", "made", "unmade"],
      resource_type: ["resourceType", "certificate", "job"],
      resource_id: ["resourceId", "mc-a", "mc-b"],
    },
  },
  {
    path: "/notifications",
    table: "notifications",
    time: "createdAt",
    row: (_, at) => ({
      ...ofCertificate,
      type: "ExpirationWarning",
      channel: "Email",
      recipient: "ops@example.com",
      message: "soon",
      sentAt: at,
      createdAt: at,
    }),
    searched: { id: "id", certificate_id: "certificateId", recipient: "recipient", message: "message" },
    filters: {
      status: ["status", "dead", "sent"],
      type: ["type", "RenewalFailure", "ExpirationWarning"],
      channel: ["channel", "Slack", "Email"],
      certificate_id: certificateFilter,
    },
  },
  {
    path: "/discovered-certificates",
    table: "discoveredCertificates",
    time: "createdAt",
    row: (id, at) => ({
      fingerprintSha256: id,
      sans: [],
      agentId: "agent-a",
      firstSeenAt: at,
      // Seen in the reverse order: cursors do not follow the order of the pages.
      lastSeenAt: new Date(3e12 - at.getTime()),
      ...stamps(at),
    }),
    searched: {
      id: "id",
      common_name: "commonName",
      sans: "sans",
      subject_dn: "subjectDn",
      issuer_dn: "issuerDn",
      serial_number: "serialNumber",
      fingerprint_sha256: "fingerprintSha256",
      source_path: "sourcePath",
    },
    holding: { sans: amongOthers },
    filters: { agent_id: agentFilter, status: ["status", "Managed", "Dismissed"] },
  },
  {
    path: "/discovery-scans",
    table: "discoveryScans",
    time: "startedAt",
    row: (_, at) => ({ agentId: "agent-a", directories: [], startedAt: at }),
    searched: { id: "id", agent_id: "agentId", directories: "directories" },
    holding: { directories: amongOthers },
    filters: { agent_id: agentFilter },
  },
  {
    path: "/network-scan-targets",
    table: "networkScanTargets",
    time: "createdAt",
    row: (id, at) => ({ name: id, cidrs: [], ports: [], ...stamps(at) }),
    searched: { id: "id", name: "name", cidrs: "cidrs" },
    holding: { cidrs: amongOthers },
  },
  {
    path: "/health-checks",
    table: "healthChecks",
    time: "createdAt",
    row: (id, at) => ({ endpoint: id, ...stamps(at) }),
    searched: {
      id: "id",
      endpoint: "endpoint",
      cert_subject: "certSubject",
      cert_issuer: "certIssuer",
      failure_reason: "failureReason",
    },
    filters: {
      status: ["status", "down", "healthy"],
      certificate_id: certificateFilter,
      network_scan_target_id: ["networkScanTargetId", "nst-a", "nst-b"],
      enabled: ["enabled", true, false],
    },
  },
  {
    path: "/admin/acme/accounts",
    table: "acmeAccounts",
    time: "createdAt",
    row: (id, at) => ({
      jwkThumbprint: id,
      jwkPem: "",
      contact: [],
      status: "valid",
      profileId: "prof-a",
      ...stamps(at),
    }),
    searched: { id: "id", jwk_thumbprint: "jwkThumbprint" },
  },
  {
    path: "/api-keys",
    table: "apiKeys",
    time: "createdAt",
    row: (id, at) => ({ name: id, hash: id, principal: "root", role: "viewer", createdAt: at }),
    searched: { id: "id", name: "name", principal: "principal" },
  },
]

const at = new Date(Date.UTC(2020, 0, 1))
const parents: readonly (readonly [table: keyof Tables, path: string, ids: readonly string[]])[] = [
  ["teams", "/teams", ["t-1", "t-2"]],
  ["owners", "/owners", ["o-1", "o-2"]],
  ["issuers", "/issuers", ["iss-1", "iss-2"]],
  ["certificateProfiles", "/profiles", ["prof-a", "prof-b"]],
  ["renewalPolicies", "/renewal-policies", ["rp-1"]],
  ["policyRules", "/policies", ["pr-a"]],
  ["agents", "/agents", ["agent-a", "agent-b"]],
  ["deploymentTargets", "/targets", ["tgt-a", "tgt-b"]],
  ["certificates", "/certificates", ["mc-a", "mc-b"]],
  ["jobs", "/jobs", ["job-a"]],
  ["networkScanTargets", "/network-scan-targets", ["nst-a", "nst-b"]],
]

/** Inserts as it comes: the columns were named by hand above, so only the database checks them. */
export const insertRow = async (tx: Tx, t: Tables, table: keyof Tables, row: Row): Promise<void> => {
  await tx.insert(t[table]).values(row as never)
}

/** What the rows of all lists refer to. */
export const insertParents = async (tx: Tx, t: Tables): Promise<void> => {
  for (const [table, path, ids] of parents) {
    const list = lists.find((one) => one.path === path)
    if (list === undefined) throw new Error(`no list ${path}`)
    for (const id of ids) await insertRow(tx, t, table, { id, ...list.row(id, at) })
  }
}

const referredTables: Readonly<Record<string, keyof Tables>> = {
  agentId: "agents",
  targetId: "deploymentTargets",
  certificateId: "certificates",
}

/** The row that a column of the list must refer to in order to hold `id`. */
export const insertReferred = async (tx: Tx, t: Tables, column: string, id: string): Promise<void> => {
  const table = referredTables[column]
  const parent = lists.find((one) => one.table === table)
  if (table !== undefined && parent !== undefined) await insertRow(tx, t, table, { id, ...parent.row(id, at) })
}
