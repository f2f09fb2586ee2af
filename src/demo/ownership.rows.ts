/** Who answers for what in the demo inventory, and by which rules: teams, owners, renewal policies, profiles. */
import type { KeyRule } from "../db/tables/issuance.tables"
import type { Tables } from "../db/tables/tables"

const dayMs = 86_400_000

const teams = [
  ["t-platform", "Platform", "Load balancers, ingress and everything that carries traffic"],
  ["t-security", "Security", "Internal PKI, mutual TLS and policies"],
  ["t-payments", "Payments", "Checkout, card processing and ledgers"],
  ["t-frontend", "Frontend", "Public web sites and the content behind them"],
  ["t-data", "Data", "Databases, streams and reports"],
  ["t-devops", "DevOps", "Build, staging and development environments"],
] as const

/** One per team. `login` is the name that the audit trail shows. */
export const people = [
  { id: "o-mara", name: "Mara Lindqvist", login: "mara.lindqvist", teamId: "t-platform" },
  { id: "o-kofi", name: "Kofi Mensah", login: "kofi.mensah", teamId: "t-security" },
  { id: "o-ines", name: "Inês Carvalho", login: "ines.carvalho", teamId: "t-payments" },
  { id: "o-tom", name: "Tom Okafor", login: "tom.okafor", teamId: "t-frontend" },
  { id: "o-yuki", name: "Yuki Tanabe", login: "yuki.tanabe", teamId: "t-data" },
  { id: "o-lena", name: "Lena Brandt", login: "lena.brandt", teamId: "t-devops" },
] as const

export type DemoTeam = (typeof people)[number]["teamId"]

export const personOf = (teamId: DemoTeam) => people.find((person) => person.teamId === teamId) ?? people[0]

interface PolicyFacts {
  readonly name: string
  readonly renewalWindowDays: number
  readonly autoRenew: boolean
  readonly maxRetries: number
  readonly retryIntervalSeconds: number
  readonly alertThresholdsDays: readonly number[]
}

export const policies = {
  "rp-standard": {
    name: "standard",
    renewalWindowDays: 30,
    autoRenew: true,
    maxRetries: 3,
    retryIntervalSeconds: 60,
    alertThresholdsDays: [30, 14, 7, 0],
  },
  "rp-urgent": {
    name: "urgent",
    renewalWindowDays: 14,
    autoRenew: true,
    maxRetries: 5,
    retryIntervalSeconds: 30,
    alertThresholdsDays: [14, 7, 3, 0],
  },
  "rp-manual": {
    name: "manual",
    renewalWindowDays: 30,
    autoRenew: false,
    maxRetries: 1,
    retryIntervalSeconds: 60,
    alertThresholdsDays: [30, 14, 7, 0],
  },
} as const satisfies Record<string, PolicyFacts>

export type DemoPolicy = keyof typeof policies

const anyKey: KeyRule[] = [
  { algorithm: "ECDSA", min_size: 256 },
  { algorithm: "RSA", min_size: 2048 },
]

export const profiles = {
  "prof-standard-tls": {
    name: "standard-tls",
    description: "Public and internal web servers",
    allowedKeyAlgorithms: anyKey,
    maxTtlSeconds: (90 * dayMs) / 1000,
    allowedEkus: ["serverAuth"],
  },
  "prof-internal-mtls": {
    name: "internal-mtls",
    description: "Services that identify themselves to each other",
    allowedKeyAlgorithms: anyKey,
    maxTtlSeconds: (30 * dayMs) / 1000,
    allowedEkus: ["serverAuth", "clientAuth"],
    spiffeUriPattern: "^spiffe://example\\.com/",
  },
  "prof-short-lived": {
    name: "short-lived",
    description: "Five minutes, for jobs that fetch a new one each time; never revoked",
    allowedKeyAlgorithms: [{ algorithm: "ECDSA", min_size: 256 }],
    maxTtlSeconds: 300,
    allowedEkus: ["serverAuth", "clientAuth"],
    allowShortLived: true,
  },
  "prof-high-security": {
    name: "high-security",
    description: "Payment and identity systems: stronger keys, 47 days, somebody approves",
    allowedKeyAlgorithms: [{ algorithm: "ECDSA", min_size: 384 }],
    maxTtlSeconds: (47 * dayMs) / 1000,
    allowedEkus: ["serverAuth"],
    requiresApproval: true,
  },
  "prof-smime": {
    name: "smime",
    description: "Signed and encrypted mail",
    allowedKeyAlgorithms: anyKey,
    maxTtlSeconds: (365 * dayMs) / 1000,
    allowedEkus: ["emailProtection"],
  },
} as const

export type DemoProfile = keyof typeof profiles

type Insert<Table extends keyof Tables> = Tables[Table]["$inferInsert"]

/** Everything here was set up 180 days before `now`, a day apart so that lists have an order. */
export const ownershipRows = (now: Date) => {
  const stamps = (index: number) => {
    const at = new Date(now.getTime() - (180 - index) * dayMs)
    return { createdAt: at, updatedAt: at }
  }
  return {
    teams: teams.map(([id, name, description], i): Insert<"teams"> => ({ id, name, description, ...stamps(i) })),
    owners: people.map(
      ({ id, name, login, teamId }, i): Insert<"owners"> => ({
        id,
        name,
        email: `${login}@example.com`,
        teamId,
        ...stamps(i + 6),
      }),
    ),
    renewalPolicies: Object.entries(policies).map(
      ([id, policy], i): Insert<"renewalPolicies"> => ({
        id,
        ...policy,
        alertThresholdsDays: [...policy.alertThresholdsDays],
        alertChannels: {},
        alertSeverityMap: {},
        ...stamps(i + 12),
      }),
    ),
    profiles: Object.entries(profiles).map(
      ([id, profile], i): Insert<"certificateProfiles"> => ({
        id,
        requiredSanPatterns: [],
        requiredCsrAttributes: [],
        ...profile,
        allowedKeyAlgorithms: [...profile.allowedKeyAlgorithms],
        allowedEkus: [...profile.allowedEkus],
        ...stamps(i + 15),
      }),
    ),
  }
}
