/** What may be issued, by whom and when again: profiles, renewal policies, issuers and the local CA's keys. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { OwnershipTables } from "./ownership.tables"
import { createdAt, updatedAt } from "./stamps"

export interface KeyRule {
  algorithm: "RSA" | "ECDSA" | "Ed25519"
  min_size: number
}

export const issuanceTables = (k: Kit, { agentGroups }: OwnershipTables) => {
  const certificateProfiles = k.table("certificate_profiles", {
    id: k.text("id").primaryKey(),
    name: k.text("name").notNull().unique(),
    description: k.text("description").notNull().default(""),
    allowedKeyAlgorithms: k.json<KeyRule[]>("allowed_key_algorithms").notNull(),
    maxTtlSeconds: k.int("max_ttl_seconds").notNull().default(0),
    allowedEkus: k.json<string[]>("allowed_ekus").notNull(),
    requiredSanPatterns: k.json<string[]>("required_san_patterns").notNull(),
    spiffeUriPattern: k.text("spiffe_uri_pattern").notNull().default(""),
    allowShortLived: k.bool("allow_short_lived").notNull().default(false),
    enabled: k.bool("enabled").notNull().default(true),
    requiredCsrAttributes: k.json<string[]>("required_csr_attributes").notNull(),
    mustStaple: k.bool("must_staple").notNull().default(false),
    requiresApproval: k.bool("requires_approval").notNull().default(false),
    /** How ACME clients prove that a name is theirs; null: as the server is configured. */
    acmeAuthMode: k.oneOf("acme_auth_mode", ["trust_authenticated", "challenge"]),
    /** Who issues to ACME clients; null: the local CA. */
    acmeIssuerId: k.text("acme_issuer_id").references(() => issuers.id, { onDelete: "set null" }),
    createdAt: createdAt(k),
    updatedAt: updatedAt(k),
  })
  const renewalPolicies = k.table("renewal_policies", {
    id: k.text("id").primaryKey(),
    name: k.text("name").notNull().unique(),
    renewalWindowDays: k.int("renewal_window_days").notNull(),
    autoRenew: k.bool("auto_renew").notNull().default(true),
    maxRetries: k.int("max_retries").notNull().default(3),
    retryIntervalSeconds: k.int("retry_interval_seconds").notNull().default(60),
    /** Whether a certificate's targets get a new version at once, or one of them before all others. */
    rollout: k.oneOf("rollout", ["one_first", "all_at_once"]).notNull().default("one_first"),
    alertThresholdsDays: k.json<number[]>("alert_thresholds_days").notNull(),
    certificateProfileId: k
      .text("certificate_profile_id")
      .references(() => certificateProfiles.id, { onDelete: "set null" }),
    agentGroupId: k.text("agent_group_id").references(() => agentGroups.id, { onDelete: "set null" }),
    alertChannels: k.json<Record<string, string[]>>("alert_channels").notNull(),
    alertSeverityMap: k.json<Record<string, string>>("alert_severity_map").notNull(),
    createdAt: createdAt(k),
    updatedAt: updatedAt(k),
  })
  const issuers = k.table(
    "issuers",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull().unique(),
      type: k.text("type").notNull(),
      /** Redacted copy, fit to be shown; the real one is sealed. */
      config: k.json<Record<string, unknown>>("config").notNull(),
      encryptedConfig: k.blob("encrypted_config"),
      /** What certctl itself keeps for the issuer, such as an ACME account. A PUT leaves it alone. */
      encryptedState: k.blob("encrypted_state"),
      enabled: k.bool("enabled").notNull().default(true),
      lastTestedAt: k.time("last_tested_at"),
      testStatus: k.oneOf("test_status", ["untested", "success", "failed"]).notNull().default("untested"),
      source: k.oneOf("source", ["database", "env"]).notNull().default("database"),
      /** `tree`: leaves are signed by the deepest CA of the issuer's hierarchy. */
      hierarchyMode: k.oneOf("hierarchy_mode", ["single", "tree"]).notNull().default("single"),
      /** Since when hardly any call to it succeeds, and why; null while it works. */
      degradedSince: k.time("degraded_since"),
      degradedReason: k.text("degraded_reason"),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [k.index("idx_issuers_enabled").on(t.enabled)],
  )
  const caKeys = k.table(
    "ca_keys",
    {
      issuerId: k
        .text("issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "restrict" }),
      /** Subject key identifier, lower-case hex. */
      ski: k.text("ski").notNull(),
      certPem: k.text("cert_pem").notNull(),
      chainPem: k.text("chain_pem").notNull(),
      encryptedKey: k.blob("encrypted_key").notNull(),
      /** `subordinate`: the key of a CA below another one, whose own state is in intermediate_cas. */
      state: k.oneOf("state", ["active", "retired", "subordinate"]).notNull(),
      /** Of a root: the key it took over from; null for the first. */
      formerSki: k.text("former_ski"),
      /** Of both roots, one certified by the other's key (RFC 4210 section 4.4). */
      newWithOldPem: k.text("new_with_old_pem"),
      oldWithNewPem: k.text("old_with_new_pem"),
      /** Until when clients that trust only the former root are shown the way from it. */
      bridgedUntil: k.time("bridged_until"),
      createdAt: createdAt(k),
    },
    (t) => [
      k.primaryKey({ columns: [t.issuerId, t.ski] }),
      // Two servers that start together on an empty database both try to make the CA: one insert wins.
      k.uniqueIndex("uq_ca_keys_active").on(t.issuerId).where(sql`state = 'active'`),
    ],
  )
  return { certificateProfiles, renewalPolicies, issuers, caKeys }
}

export type IssuanceTables = ReturnType<typeof issuanceTables>
