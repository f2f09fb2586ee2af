/** The 32 certificates of the demo inventory, as a table. Every one is tagged `demo=true`: loops neither renew nor alert it. */
import type { certificateStatuses } from "../db/tables/certificate.tables"
import type { DemoTarget } from "./fleet.rows"
import type { DemoPolicy, DemoProfile, DemoTeam } from "./ownership.rows"

export interface DemoCertificate {
  readonly id: string
  readonly commonName: string
  readonly sans: readonly string[]
  readonly environment: "production" | "staging" | "development"
  readonly teamId: DemoTeam
  readonly policyId: DemoPolicy
  readonly profileId: DemoProfile
  readonly status: Extract<
    (typeof certificateStatuses)[number],
    "Active" | "Expiring" | "Expired" | "RenewalInProgress" | "Failed" | "Revoked"
  >
  /** Days from the load of the inventory; negative in the past. */
  readonly expiresInDays: number
  readonly lifetimeDays: number
  readonly createdDaysAgo: number
  readonly targets: readonly DemoTarget[]
  /** X.509 certificates kept for it; 0 where only the date is known, as after an import. */
  readonly versions: 0 | 1 | 2
}

const teams = {
  platform: "t-platform",
  security: "t-security",
  payments: "t-payments",
  frontend: "t-frontend",
  data: "t-data",
  devops: "t-devops",
} as const
const environments = { prod: "production", stag: "staging", dev: "development" } as const
const policies = { standard: "rp-standard", urgent: "rp-urgent", manual: "rp-manual" } as const
const profiles = {
  tls: { id: "prof-standard-tls", lifetimeDays: 90 },
  mtls: { id: "prof-internal-mtls", lifetimeDays: 30 },
  high: { id: "prof-high-security", lifetimeDays: 47 },
  smime: { id: "prof-smime", lifetimeDays: 365 },
} as const

type Line = readonly [
  commonName: string,
  environment: keyof typeof environments,
  team: keyof typeof teams,
  policy: keyof typeof policies,
  profile: keyof typeof profiles,
  status: DemoCertificate["status"],
  expiresInDays: number,
  createdDaysAgo: number,
  targets: readonly DemoTarget[],
  versions: DemoCertificate["versions"],
]

// An Active one must have more days left than its policy's window, or the renewal check moves it on at once.
const lines: readonly Line[] = [
  ["www.example.com", "prod", "frontend", "standard", "tls", "Active", 61, 152, ["www", "edge"], 0],
  ["shop.example.com", "prod", "payments", "standard", "tls", "Active", 74, 149, ["shop"], 2],
  ["api.example.com", "prod", "platform", "standard", "tls", "Active", 47, 150, ["public"], 2],
  ["*.apps.example.com", "prod", "platform", "standard", "tls", "Active", 83, 139, ["ingress"], 1],
  ["login.example.com", "prod", "security", "urgent", "high", "Active", 31, 131, ["public"], 2],
  ["checkout.example.com", "prod", "payments", "urgent", "high", "Active", 39, 122, ["shop"], 1],
  ["cards.example.com", "prod", "payments", "urgent", "high", "Active", 44, 28, ["internal"], 0],
  ["cdn.example.com", "prod", "frontend", "standard", "tls", "Active", 52, 118, ["edge"], 0],
  ["status.example.com", "prod", "platform", "standard", "tls", "Active", 66, 110, ["public"], 0],
  ["docs.example.com", "prod", "frontend", "standard", "tls", "Active", 79, 26, ["www"], 0],
  ["mail.example.com", "prod", "devops", "standard", "tls", "Active", 57, 104, ["internal"], 0],
  ["warehouse.example.com", "prod", "data", "standard", "tls", "Active", 70, 97, ["data"], 1],
  ["events.example.com", "prod", "data", "standard", "tls", "Active", 88, 22, ["data"], 0],
  ["ledger.svc.example.com", "prod", "payments", "standard", "mtls", "Active", 24, 90, ["internal"], 1],
  ["orders.svc.example.com", "prod", "payments", "standard", "mtls", "Active", 19, 88, ["ingress"], 1],
  ["search.svc.example.com", "prod", "data", "standard", "mtls", "Active", 28, 17, ["ingress"], 0],
  ["auth.svc.example.com", "prod", "security", "standard", "mtls", "Active", 15, 84, ["ingress", "internal"], 0],
  ["releases@example.com", "prod", "security", "standard", "smime", "Active", 214, 151, [], 1],
  ["staging.example.com", "stag", "devops", "standard", "tls", "Active", 63, 141, ["staging"], 1],
  ["api.staging.example.com", "stag", "devops", "standard", "tls", "Active", 49, 77, ["staging"], 0],
  ["shop.staging.example.com", "stag", "payments", "standard", "tls", "Active", 85, 12, ["staging"], 0],
  ["git.dev.example.com", "dev", "devops", "standard", "tls", "Active", 54, 69, ["staging"], 0],
  ["partners.example.com", "prod", "frontend", "manual", "tls", "Expiring", 21, 133, ["www"], 1],
  ["reports.example.com", "prod", "data", "manual", "tls", "Expiring", 12, 116, ["data"], 0],
  ["vpn.example.com", "prod", "security", "manual", "high", "Expiring", 6, 145, ["public"], 1],
  ["preview.dev.example.com", "dev", "frontend", "manual", "tls", "Expiring", 27, 63, ["staging"], 0],
  ["legacy.example.com", "prod", "platform", "manual", "tls", "Expired", -3, 148, ["internal"], 0],
  ["metrics.dev.example.com", "dev", "data", "manual", "tls", "Expired", -11, 101, ["staging"], 0],
  ["old-api.staging.example.com", "stag", "platform", "manual", "tls", "Expired", -24, 114, ["staging"], 0],
  ["chat.example.com", "prod", "platform", "standard", "tls", "RenewalInProgress", 26, 94, ["public"], 0],
  ["fax.example.com", "prod", "devops", "standard", "tls", "Failed", 1, 136, ["internal"], 0],
  ["intranet.example.com", "prod", "security", "standard", "tls", "Revoked", 41, 107, ["internal", "data"], 1],
]

const slugOf = (commonName: string): string =>
  commonName
    .replace("*", "wildcard")
    .replace(/\.example\.com$/, "")
    .replace(/[^a-z0-9]+/g, "-")

/** Services name themselves by SPIFFE ids too, as their profile wants it. */
const sansOf = (commonName: string, profile: Line[4]): string[] =>
  profile === "mtls" ? [commonName, `spiffe://example.com/${commonName.split(".")[0]}`] : [commonName]

export const demoCertificates: readonly DemoCertificate[] = lines.map(
  ([commonName, environment, team, policy, profile, status, expiresInDays, createdDaysAgo, targets, versions]) => ({
    id: `mc-${slugOf(commonName)}`,
    commonName,
    sans: sansOf(commonName, profile),
    environment: environments[environment],
    teamId: teams[team],
    policyId: policies[policy],
    profileId: profiles[profile].id,
    status,
    expiresInDays,
    lifetimeDays: profiles[profile].lifetimeDays,
    createdDaysAgo,
    targets,
    versions,
  }),
)
