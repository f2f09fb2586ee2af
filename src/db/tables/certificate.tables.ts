/** Managed certificates, the X.509 versions issued for them, where they go, and what was revoked. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { FleetTables } from "./fleet.tables"
import type { IssuanceTables } from "./issuance.tables"
import type { OwnershipTables } from "./ownership.tables"
import { createdAt, updatedAt } from "./stamps"

export const certificateStatuses = [
  "Pending",
  "Active",
  "Expiring",
  "Expired",
  "RenewalInProgress",
  "Failed",
  "Revoked",
  "Archived",
] as const

export const certificateTables = (
  k: Kit,
  { owners, teams }: OwnershipTables,
  { issuers, renewalPolicies, certificateProfiles }: IssuanceTables,
  { agents, deploymentTargets }: FleetTables,
) => {
  const certificates = k.table(
    "managed_certificates",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull().unique(),
      commonName: k.text("common_name").notNull(),
      sans: k.json<string[]>("sans").notNull(),
      environment: k.text("environment").notNull().default(""),
      ownerId: k
        .text("owner_id")
        .notNull()
        .references(() => owners.id, { onDelete: "restrict" }),
      teamId: k
        .text("team_id")
        .notNull()
        .references(() => teams.id, { onDelete: "restrict" }),
      issuerId: k
        .text("issuer_id")
        .notNull()
        .references(() => issuers.id, { onDelete: "restrict" }),
      renewalPolicyId: k
        .text("renewal_policy_id")
        .notNull()
        .references(() => renewalPolicies.id, { onDelete: "restrict" }),
      certificateProfileId: k
        .text("certificate_profile_id")
        .references(() => certificateProfiles.id, { onDelete: "set null" }),
      status: k.oneOf("status", certificateStatuses).notNull().default("Pending"),
      expiresAt: k.time("expires_at"),
      renewAt: k.time("renew_at"),
      tags: k.json<Record<string, string>>("tags").notNull(),
      lastRenewalAt: k.time("last_renewal_at"),
      lastDeploymentAt: k.time("last_deployment_at"),
      revokedAt: k.time("revoked_at"),
      revocationReason: k.text("revocation_reason"),
      source: k.text("source").notNull().default(""),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      // Each filter of the list has the order of its pages behind it; behind that stands what else is filtered by and hardly ever
      // changes, so that rows that do not match are passed over without a look at them.
      k.index("idx_managed_certificates_status").on(t.status, t.createdAt, t.id),
      k
        .index("idx_managed_certificates_environment")
        .on(t.environment, t.createdAt, t.id, t.issuerId, t.certificateProfileId, t.teamId),
      k
        .index("idx_managed_certificates_expires_at")
        .on(t.expiresAt, t.id, t.teamId, t.issuerId, t.certificateProfileId, t.environment),
      // Counts the pieces of days that the counters by day leave open, without a look at the rows.
      k.index("idx_managed_certificates_status_expires_at").on(t.status, t.expiresAt),
      k.index("idx_managed_certificates_owner_id").on(t.ownerId, t.createdAt, t.id),
      k
        .index("idx_managed_certificates_team_id")
        .on(t.teamId, t.createdAt, t.id, t.issuerId, t.certificateProfileId, t.environment),
      k
        .index("idx_managed_certificates_issuer_id")
        .on(t.issuerId, t.createdAt, t.id, t.certificateProfileId, t.environment, t.teamId),
      k.index("idx_managed_certificates_renewal_policy_id").on(t.renewalPolicyId, t.id),
      k
        .index("idx_managed_certificates_certificate_profile_id")
        .on(t.certificateProfileId, t.createdAt, t.id, t.issuerId, t.environment, t.teamId),
      k.index("idx_managed_certificates_common_name").on(t.commonName, t.id),
      k.index("idx_managed_certificates_updated_at").on(t.updatedAt, t.id),
      // For the renewal check, which reads nothing else of the many that need nothing; not of those it never looks at.
      k
        .index("idx_managed_certificates_check")
        .on(t.expiresAt, t.id, t.status, t.renewAt, t.renewalPolicyId)
        .where(sql`status not in ('Failed', 'Revoked', 'Archived')`),
      k
        .index("idx_managed_certificates_due")
        .on(t.renewAt, t.id, t.expiresAt, t.status)
        .where(sql`status not in ('Failed', 'Revoked', 'Archived')`),
      k.index("idx_managed_certificates_created_at").on(t.createdAt, t.id),
    ],
  )
  const certificateVersions = k.table(
    "certificate_versions",
    {
      id: k.text("id").primaryKey(),
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id, { onDelete: "cascade" }),
      /** Lower-case hex without separators. */
      serialNumber: k.text("serial_number").notNull(),
      notBefore: k.time("not_before").notNull(),
      notAfter: k.time("not_after").notNull(),
      /** SHA-256 of the leaf's DER, 64 lower-case hex digits. */
      fingerprintSha256: k.text("fingerprint_sha256").notNull().unique(),
      /** Leaf first, then the chain, nearest issuer first. */
      pemChain: k.text("pem_chain").notNull(),
      csrPem: k.text("csr_pem").notNull().default(""),
      keyAlgorithm: k.text("key_algorithm").notNull().default(""),
      keySize: k.int("key_size").notNull().default(0),
      issuerId: k.text("issuer_id").references(() => issuers.id),
      /** The agent that holds the key; null where no agent does. */
      agentId: k.text("agent_id").references(() => agents.id),
      orderId: k.text("order_id"),
      encryptedKey: k.blob("encrypted_key"),
      shortLived: k.bool("short_lived").notNull().default(false),
      renewAt: k.time("renew_at"),
      ariNextAt: k.time("ari_next_at"),
      createdAt: createdAt(k),
    },
    (t) => [
      // Who looks for a number alone asks for that of each issuer: another index would take a page of its own for every version.
      k.index("idx_certificate_versions_serial").on(t.issuerId, t.serialNumber),
      k.index("idx_certificate_versions_newest").on(t.certificateId, t.agentId, t.createdAt, t.id),
    ],
  )
  const certificateTargets = k.table(
    "certificate_target_mappings",
    {
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id, { onDelete: "cascade" }),
      targetId: k
        .text("target_id")
        .notNull()
        .references(() => deploymentTargets.id, { onDelete: "cascade" }),
    },
    (t) => [
      k.primaryKey({ columns: [t.certificateId, t.targetId] }),
      k.index("idx_certificate_target_mappings_target_id").on(t.targetId),
    ],
  )
  const certificateRevocations = k.table(
    "certificate_revocations",
    {
      id: k.text("id").primaryKey(),
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id),
      serialNumber: k.text("serial_number").notNull(),
      reason: k.text("reason").notNull().default("unspecified"),
      revokedBy: k.text("revoked_by").notNull(),
      revokedAt: k.time("revoked_at").notNull(),
      issuerId: k.text("issuer_id").references(() => issuers.id),
      /**
       * Of the version that is revoked, which never changes them; null where there is none. A list of 200,000 entries that looked them
       * up there took PostgreSQL ten times as long.
       */
      notAfter: k.time("not_after"),
      shortLived: k.bool("short_lived").notNull().default(false),
      issuerNotified: k.bool("issuer_notified").notNull().default(false),
      createdAt: createdAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_certificate_revocations_issuer_serial").on(t.issuerId, t.serialNumber),
      k.index("idx_certificate_revocations_revoked_at").on(t.revokedAt),
      // The order in which lists are made and newcomers are looked for.
      k.index("idx_certificate_revocations_issuer_created_at").on(t.issuerId, t.createdAt, t.id),
      k.index("idx_certificate_revocations_created_at").on(t.createdAt),
      k.index("idx_certificate_revocations_certificate_id").on(t.certificateId),
      k.index("idx_certificate_revocations_serial_number").on(t.serialNumber),
    ],
  )
  return { certificates, certificateVersions, certificateTargets, certificateRevocations }
}

export type CertificateTables = ReturnType<typeof certificateTables>
