/** The ACME server: accounts, what they ordered, how they proved their names, and the nonces in circulation. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { CertificateTables } from "./certificate.tables"
import type { IssuanceTables } from "./issuance.tables"
import type { OwnershipTables } from "./ownership.tables"
import { createdAt, updatedAt } from "./stamps"

export const accountStatuses = ["valid", "deactivated", "revoked"] as const
export const orderStatuses = ["pending", "ready", "processing", "valid", "invalid"] as const
export const authorizationStatuses = ["pending", "valid", "invalid", "deactivated", "expired", "revoked"] as const
export const challengeStatuses = ["pending", "processing", "valid", "invalid"] as const
export const challengeTypes = ["http-01", "dns-01", "tls-alpn-01"] as const

export interface AcmeIdentifier {
  readonly type: "dns"
  /** Lower case; of an authorization without `*.`. */
  readonly value: string
}

/** RFC 7807, as it stands in orders and challenges. */
export interface StoredProblem {
  readonly type: string
  readonly detail: string
  readonly status: number
}

export const acmeTables = (
  k: Kit,
  { owners }: OwnershipTables,
  { certificateProfiles }: IssuanceTables,
  { certificates, certificateVersions }: CertificateTables,
) => {
  const acmeAccounts = k.table(
    "acme_accounts",
    {
      id: k.text("account_id").primaryKey(),
      /** RFC 7638, SHA-256, base64url. */
      jwkThumbprint: k.text("jwk_thumbprint").notNull(),
      /** The public key. */
      jwkPem: k.text("jwk_pem").notNull(),
      contact: k.json<string[]>("contact").notNull(),
      status: k.oneOf("status", accountStatuses).notNull(),
      profileId: k
        .text("profile_id")
        .notNull()
        .references(() => certificateProfiles.id, { onDelete: "cascade" }),
      ownerId: k.text("owner_id").references(() => owners.id, { onDelete: "set null" }),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_acme_accounts_profile_jwk").on(t.profileId, t.jwkThumbprint),
      k.index("idx_acme_accounts_created_at").on(t.createdAt, t.id),
    ],
  )
  /** Keys that an administrator hands out, so that only who has one can open an account (RFC 8555 section 7.3.4). */
  const acmeExternalAccounts = k.table("acme_external_accounts", {
    id: k.text("id").primaryKey(),
    profileId: k
      .text("profile_id")
      .notNull()
      .references(() => certificateProfiles.id, { onDelete: "cascade" }),
    /** Of the accounts opened with it. */
    ownerId: k.text("owner_id").references(() => owners.id, { onDelete: "set null" }),
    encryptedKey: k.blob("encrypted_key").notNull(),
    createdBy: k.text("created_by").notNull(),
    createdAt: createdAt(k),
    expiresAt: k.time("expires_at"),
    /** A key is good for one account. */
    accountId: k.text("account_id").references(() => acmeAccounts.id, { onDelete: "set null" }),
    boundAt: k.time("bound_at"),
  })
  const acmeOrders = k.table(
    "acme_orders",
    {
      id: k.text("order_id").primaryKey(),
      accountId: k
        .text("account_id")
        .notNull()
        .references(() => acmeAccounts.id, { onDelete: "cascade" }),
      identifiers: k.json<AcmeIdentifier[]>("identifiers").notNull(),
      status: k.oneOf("status", orderStatuses).notNull(),
      expiresAt: k.time("expires_at").notNull(),
      error: k.json<StoredProblem>("error"),
      csrPem: k.text("csr_pem"),
      certificateId: k.text("certificate_id").references(() => certificates.id, { onDelete: "set null" }),
      /** The X.509 that was issued. */
      versionId: k.text("version_id").references(() => certificateVersions.id, { onDelete: "set null" }),
      /** The version that this one takes the place of, as the client said (RFC 9773 section 5). */
      replacesId: k.text("replaces_id").references(() => certificateVersions.id, { onDelete: "set null" }),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.index("idx_acme_orders_account_id").on(t.accountId, t.createdAt),
      k.index("idx_acme_orders_open").on(t.accountId).where(sql`status in ('pending', 'ready', 'processing')`),
      k.index("idx_acme_orders_expires_at").on(t.expiresAt),
      k.index("idx_acme_orders_certificate_id").on(t.certificateId),
      k.index("idx_acme_orders_version_id").on(t.versionId),
      // A certificate is replaced once, but an order that failed replaced nothing.
      k
        .uniqueIndex("uq_acme_orders_replaces_id")
        .on(t.replacesId)
        .where(sql`replaces_id is not null and status <> 'invalid'`),
    ],
  )
  const acmeAuthorizations = k.table(
    "acme_authorizations",
    {
      id: k.text("authz_id").primaryKey(),
      orderId: k
        .text("order_id")
        .notNull()
        .references(() => acmeOrders.id, { onDelete: "cascade" }),
      identifier: k.json<AcmeIdentifier>("identifier").notNull(),
      status: k.oneOf("status", authorizationStatuses).notNull(),
      expiresAt: k.time("expires_at").notNull(),
      wildcard: k.bool("wildcard").notNull(),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.index("idx_acme_authorizations_order_id").on(t.orderId),
      k.index("idx_acme_authorizations_expiring").on(t.expiresAt).where(sql`status in ('pending', 'valid')`),
    ],
  )
  const acmeChallenges = k.table(
    "acme_challenges",
    {
      id: k.text("challenge_id").primaryKey(),
      authorizationId: k
        .text("authz_id")
        .notNull()
        .references(() => acmeAuthorizations.id, { onDelete: "cascade" }),
      type: k.oneOf("type", challengeTypes).notNull(),
      status: k.oneOf("status", challengeStatuses).notNull(),
      token: k.text("token").notNull(),
      validatedAt: k.time("validated_at"),
      error: k.json<StoredProblem>("error"),
      /** While it is processing: another server may take it over from then on. */
      claimedUntil: k.time("claimed_until"),
      createdAt: createdAt(k),
    },
    (t) => [
      k.index("idx_acme_challenges_authz_id").on(t.authorizationId),
      k.index("idx_acme_challenges_processing").on(t.claimedUntil).where(sql`status = 'processing'`),
    ],
  )
  const acmeNonces = k.table(
    "acme_nonces",
    {
      nonce: k.text("nonce").primaryKey(),
      issuedAt: k.time("issued_at").notNull(),
      expiresAt: k.time("expires_at").notNull(),
    },
    (t) => [k.index("idx_acme_nonces_expires_at").on(t.expiresAt)],
  )
  return { acmeAccounts, acmeExternalAccounts, acmeOrders, acmeAuthorizations, acmeChallenges, acmeNonces }
}
