/** Policy rules, their violations, notifications, the audit trail and access. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { CertificateTables } from "./certificate.tables"
import { createdAt, updatedAt } from "./stamps"

export const rulesTables = (k: Kit, { certificates }: CertificateTables) => {
  const policyRules = k.table(
    "policy_rules",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull().unique(),
      type: k.text("type").notNull(),
      config: k.json<Record<string, unknown>>("config").notNull(),
      enabled: k.bool("enabled").notNull().default(true),
      severity: k.oneOf("severity", ["Warning", "Error", "Critical"]).notNull().default("Warning"),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.index("idx_policy_rules_enabled").on(t.enabled),
      k.check("policy_rules_severity", sql`severity in ('Warning', 'Error', 'Critical')`),
    ],
  )
  const policyViolations = k.table(
    "policy_violations",
    {
      id: k.text("id").primaryKey(),
      certificateId: k
        .text("certificate_id")
        .notNull()
        .references(() => certificates.id, { onDelete: "cascade" }),
      ruleId: k
        .text("rule_id")
        .notNull()
        .references(() => policyRules.id, { onDelete: "cascade" }),
      message: k.text("message").notNull(),
      severity: k.oneOf("severity", ["Warning", "Error", "Critical"]).notNull(),
      createdAt: createdAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_policy_violations_rule_certificate").on(t.ruleId, t.certificateId),
      k.index("idx_policy_violations_rule_id_created_at").on(t.ruleId, t.createdAt, t.id),
      k.index("idx_policy_violations_certificate_id").on(t.certificateId),
      k.index("idx_policy_violations_severity").on(t.severity),
      k.check("policy_violations_severity", sql`severity in ('Warning', 'Error', 'Critical')`),
    ],
  )
  const notifications = k.table(
    "notification_events",
    {
      id: k.text("id").primaryKey(),
      type: k.text("type").notNull(),
      certificateId: k.text("certificate_id").references(() => certificates.id, { onDelete: "cascade" }),
      channel: k.text("channel").notNull(),
      recipient: k.text("recipient").notNull(),
      message: k.text("message").notNull(),
      status: k.oneOf("status", ["pending", "sent", "failed", "dead", "read"]).notNull().default("pending"),
      sentAt: k.time("sent_at"),
      error: k.text("error"),
      retryCount: k.int("retry_count").notNull().default(0),
      nextRetryAt: k.time("next_retry_at"),
      lastError: k.text("last_error"),
      createdAt: createdAt(k),
    },
    (t) => [
      k.index("idx_notification_events_certificate_id").on(t.certificateId, t.createdAt, t.id),
      // Nearly all are sent, and found by the order of the list. Worded so that only queries that say the same are served (unindexed.ts).
      k.index("idx_notification_events_unsent").on(t.status, t.createdAt, t.id).where(sql`(status || '') <> 'sent'`),
      k.index("idx_notification_events_type").on(t.type, t.createdAt, t.id),
      // The order of the list's pages. The dialects put NULL at different ends: read backwards, this has never sent last in both.
      k.index("idx_notification_events_sent_at").on(sql`(sent_at is not null)`, t.sentAt, t.createdAt, t.id),
      k.index("idx_notification_events_created_at").on(t.createdAt, t.id),
    ],
  )
  return { policyRules, policyViolations, notifications }
}

export const accessTables = (k: Kit) => {
  const auditEvents = k.table(
    "audit_events",
    {
      id: k.text("id").primaryKey(),
      actor: k.text("actor").notNull(),
      actorType: k.oneOf("actor_type", ["User", "System", "Agent"]).notNull(),
      action: k.text("action").notNull(),
      resourceType: k.text("resource_type").notNull(),
      resourceId: k.text("resource_id").notNull(),
      details: k.json<Record<string, unknown>>("details").notNull(),
      timestamp: k.time("timestamp").notNull(),
    },
    (t) => [
      // Without the id, which only tells events of one millisecond apart: every request writes here.
      k.index("idx_audit_events_resource_type").on(t.resourceType, t.timestamp),
      k.index("idx_audit_events_resource_id").on(t.resourceId, t.timestamp),
      k.index("idx_audit_events_actor").on(t.actor, t.timestamp),
      k.index("idx_audit_events_action").on(t.action, t.timestamp),
      k.index("idx_audit_events_actor_type").on(t.actorType, t.timestamp),
      k.index("idx_audit_events_changes").on(t.timestamp, t.id).where(sql`resource_type <> 'api'`),
      k.index("idx_audit_events_timestamp").on(t.timestamp, t.id),
    ],
  )
  const auditLeaves = k.table("audit_leaves", {
    /** Gap-free, in the order in which events were sealed. */
    seq: k.int("seq").primaryKey(),
    eventId: k
      .text("event_id")
      .notNull()
      .unique()
      .references(() => auditEvents.id),
    leafHash: k.text("leaf_hash").notNull(),
  })
  const apiKeys = k.table(
    "api_keys",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull().unique(),
      /** SHA-256 of the key, lower-case hex. */
      hash: k.text("hash").notNull().unique(),
      principal: k.text("principal").notNull(),
      role: k.oneOf("role", ["admin", "operator", "viewer"]).notNull(),
      createdAt: createdAt(k),
      lastUsedAt: k.time("last_used_at"),
      disabledAt: k.time("disabled_at"),
    },
    (t) => [
      k.index("idx_api_keys_principal").on(t.principal),
      k.check("api_keys_role", sql`role in ('admin', 'operator', 'viewer')`),
    ],
  )
  const sessions = k.table(
    "sessions",
    {
      idHash: k.text("id_hash").primaryKey(),
      /** Row of api_keys; null for a key that comes from the environment, which `keyHash` then identifies. */
      apiKeyId: k.text("api_key_id").references(() => apiKeys.id, { onDelete: "cascade" }),
      keyHash: k.text("key_hash").notNull(),
      createdAt: createdAt(k),
      lastSeenAt: k.time("last_seen_at").notNull(),
      expiresAt: k.time("expires_at").notNull(),
    },
    (t) => [k.index("idx_sessions_expires_at").on(t.expiresAt), k.index("idx_sessions_key_hash").on(t.keyHash)],
  )
  const preferences = k.table(
    "preferences",
    {
      principal: k.text("principal").notNull(),
      name: k.text("name").notNull(),
      value: k.text("value").notNull(),
    },
    (t) => [k.primaryKey({ columns: [t.principal, t.name] })],
  )
  return { auditEvents, auditLeaves, apiKeys, sessions, preferences }
}

/** What the servers of one database agree on: who runs which loop, and effects owed after a commit. */
export const coordinationTables = (k: Kit) => {
  const leases = k.table("leases", {
    loop: k.text("loop").primaryKey(),
    holder: k.text("holder").notNull(),
    expiresAt: k.time("expires_at").notNull(),
    /** Grows with every change of holder; a late writer is told by it. */
    fence: k.int("fence").notNull(),
  })
  const outbox = k.table(
    "outbox",
    {
      id: k.text("id").primaryKey(),
      kind: k.text("kind").notNull(),
      /** Whom the effect reaches: rows of one lane wait for each other, rows of another never do. */
      lane: k.text("lane").notNull(),
      payload: k.json<Record<string, unknown>>("payload").notNull(),
      attempts: k.int("attempts").notNull().default(0),
      nextAt: k.time("next_at").notNull(),
      lastError: k.text("last_error"),
      createdAt: createdAt(k),
      doneAt: k.time("done_at"),
    },
    (t) => [
      k.index("idx_outbox_lane").on(t.lane, t.nextAt, t.id).where(sql`done_at is null`),
      k.index("idx_outbox_done_at").on(t.doneAt).where(sql`done_at is not null`),
    ],
  )
  /** How much of an hourly limit somebody has used, since when. One row each, written over when its hour is over. */
  const allowances = k.table("allowances", {
    name: k.text("name").primaryKey(),
    since: k.time("since").notNull(),
    used: k.int("used").notNull(),
  })
  const settings = k.table("settings", {
    name: k.text("name").primaryKey(),
    value: k.text("value").notNull(),
    updatedAt: updatedAt(k),
  })
  return { leases, outbox, allowances, settings }
}
