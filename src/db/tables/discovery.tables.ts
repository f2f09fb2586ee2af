/** What was found outside our own inventory, and the endpoints whose health is watched. */
import { sql } from "drizzle-orm"
import type { Kit } from "../kit"
import type { CertificateTables } from "./certificate.tables"
import type { FleetTables } from "./fleet.tables"
import { createdAt, updatedAt } from "./stamps"

export const discoveryTables = (k: Kit, { certificates }: CertificateTables, { agents }: FleetTables) => {
  const discoveryScans = k.table(
    "discovery_scans",
    {
      id: k.text("id").primaryKey(),
      agentId: k
        .text("agent_id")
        .notNull()
        .references(() => agents.id),
      directories: k.json<string[]>("directories").notNull(),
      certificatesFound: k.int("certificates_found").notNull().default(0),
      certificatesNew: k.int("certificates_new").notNull().default(0),
      errorsCount: k.int("errors_count").notNull().default(0),
      scanDurationMs: k.int("scan_duration_ms").notNull().default(0),
      startedAt: k.time("started_at").notNull(),
      completedAt: k.time("completed_at"),
    },
    (t) => [
      k.index("idx_discovery_scans_agent_id").on(t.agentId, t.startedAt, t.id),
      k.index("idx_discovery_scans_started_at").on(t.startedAt, t.id),
    ],
  )
  const discoveredCertificates = k.table(
    "discovered_certificates",
    {
      id: k.text("id").primaryKey(),
      fingerprintSha256: k.text("fingerprint_sha256").notNull(),
      commonName: k.text("common_name").notNull().default(""),
      sans: k.json<string[]>("sans").notNull(),
      serialNumber: k.text("serial_number").notNull().default(""),
      issuerDn: k.text("issuer_dn").notNull().default(""),
      subjectDn: k.text("subject_dn").notNull().default(""),
      notBefore: k.time("not_before"),
      notAfter: k.time("not_after"),
      keyAlgorithm: k.text("key_algorithm").notNull().default(""),
      keySize: k.int("key_size").notNull().default(0),
      isCa: k.bool("is_ca").notNull().default(false),
      pemData: k.text("pem_data").notNull().default(""),
      sourcePath: k.text("source_path").notNull().default(""),
      sourceFormat: k.text("source_format").notNull().default("PEM"),
      agentId: k
        .text("agent_id")
        .notNull()
        .references(() => agents.id),
      discoveryScanId: k.text("discovery_scan_id").references(() => discoveryScans.id),
      managedCertificateId: k.text("managed_certificate_id").references(() => certificates.id),
      status: k.oneOf("status", ["Unmanaged", "Managed", "Dismissed"]).notNull().default("Unmanaged"),
      firstSeenAt: k.time("first_seen_at").notNull(),
      lastSeenAt: k.time("last_seen_at").notNull(),
      dismissedAt: k.time("dismissed_at"),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.uniqueIndex("uq_discovered_certificates_sighting").on(t.fingerprintSha256, t.agentId, t.sourcePath),
      k.index("idx_discovered_certificates_agent_id").on(t.agentId, t.lastSeenAt, t.id),
      k.index("idx_discovered_certificates_status").on(t.status, t.lastSeenAt, t.id),
      k.index("idx_discovered_certificates_not_after").on(t.notAfter),
      k.index("idx_discovered_certificates_last_seen_at").on(t.lastSeenAt, t.id),
      k.index("idx_discovered_certificates_created_at").on(t.createdAt, t.id),
      k
        .index("idx_discovered_certificates_managed")
        .on(t.managedCertificateId)
        .where(sql`managed_certificate_id is not null`),
    ],
  )
  const networkScanTargets = k.table(
    "network_scan_targets",
    {
      id: k.text("id").primaryKey(),
      name: k.text("name").notNull(),
      cidrs: k.json<string[]>("cidrs").notNull(),
      ports: k.json<number[]>("ports").notNull(),
      enabled: k.bool("enabled").notNull().default(true),
      scanIntervalHours: k.int("scan_interval_hours").notNull().default(6),
      timeoutMs: k.int("timeout_ms").notNull().default(5000),
      lastScanAt: k.time("last_scan_at"),
      lastScanDurationMs: k.int("last_scan_duration_ms"),
      lastScanCertsFound: k.int("last_scan_certs_found"),
      healthCheckEnabled: k.bool("health_check_enabled").notNull().default(false),
      healthCheckIntervalSeconds: k.int("health_check_interval_seconds").notNull().default(300),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [k.index("idx_network_scan_targets_enabled").on(t.enabled).where(sql`enabled`)],
  )
  const healthChecks = k.table(
    "endpoint_health_checks",
    {
      id: k.text("id").primaryKey(),
      endpoint: k.text("endpoint").notNull(),
      certificateId: k.text("certificate_id").references(() => certificates.id),
      networkScanTargetId: k.text("network_scan_target_id").references(() => networkScanTargets.id),
      expectedFingerprint: k.text("expected_fingerprint").notNull().default(""),
      observedFingerprint: k.text("observed_fingerprint").notNull().default(""),
      status: k
        .oneOf("status", ["healthy", "degraded", "down", "cert_mismatch", "unknown"])
        .notNull()
        .default("unknown"),
      consecutiveFailures: k.int("consecutive_failures").notNull().default(0),
      responseTimeMs: k.int("response_time_ms").notNull().default(0),
      tlsVersion: k.text("tls_version").notNull().default(""),
      cipherSuite: k.text("cipher_suite").notNull().default(""),
      certSubject: k.text("cert_subject").notNull().default(""),
      certIssuer: k.text("cert_issuer").notNull().default(""),
      certExpiry: k.time("cert_expiry"),
      lastCheckedAt: k.time("last_checked_at"),
      lastSuccessAt: k.time("last_success_at"),
      lastFailureAt: k.time("last_failure_at"),
      lastTransitionAt: k.time("last_transition_at"),
      failureReason: k.text("failure_reason").notNull().default(""),
      degradedThreshold: k.int("degraded_threshold").notNull().default(2),
      downThreshold: k.int("down_threshold").notNull().default(5),
      checkIntervalSeconds: k.int("check_interval_seconds").notNull().default(300),
      enabled: k.bool("enabled").notNull().default(true),
      acknowledged: k.bool("acknowledged").notNull().default(false),
      acknowledgedBy: k.text("acknowledged_by").notNull().default(""),
      acknowledgedAt: k.time("acknowledged_at"),
      createdAt: createdAt(k),
      updatedAt: updatedAt(k),
    },
    (t) => [
      k.index("idx_endpoint_health_checks_status").on(t.status),
      k.index("idx_endpoint_health_checks_endpoint").on(t.endpoint),
      k.index("idx_endpoint_health_checks_enabled").on(t.enabled).where(sql`enabled`),
      k.index("idx_endpoint_health_checks_created_at").on(t.createdAt, t.id),
      k
        .uniqueIndex("uq_endpoint_health_checks_certificate_id_endpoint")
        .on(t.certificateId, t.endpoint)
        .where(sql`certificate_id is not null`),
    ],
  )
  const healthHistory = k.table(
    "endpoint_health_history",
    {
      id: k.text("id").primaryKey(),
      healthCheckId: k
        .text("health_check_id")
        .notNull()
        .references(() => healthChecks.id, { onDelete: "cascade" }),
      status: k.text("status").notNull(),
      responseTimeMs: k.int("response_time_ms").notNull().default(0),
      fingerprint: k.text("fingerprint").notNull().default(""),
      failureReason: k.text("failure_reason").notNull().default(""),
      checkedAt: k.time("checked_at").notNull(),
    },
    (t) => [k.index("idx_endpoint_health_history_check").on(t.healthCheckId, t.checkedAt)],
  )
  return { discoveryScans, discoveredCertificates, networkScanTargets, healthChecks, healthHistory }
}
