/** Discovered certificates and scans on the wire. */
import * as v from "valibot"
import { listParams, pagedListOf } from "../server/paging"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { DiscoveredFilter, DiscoveredRow, ScanRow } from "./discovery.store"

const statuses = ["Unmanaged", "Managed", "Dismissed"] as const
const whole = v.pipe(v.number(), v.integer())

export const DiscoveredQuery = v.object({
  agent_id: v.optional(v.string()),
  status: v.optional(v.string()),
  ...listParams([
    "id",
    "common_name",
    "sans",
    "subject_dn",
    "issuer_dn",
    "serial_number",
    "fingerprint_sha256",
    "source_path",
  ]),
})

/** An empty filter counts as absent; a status that no row can have finds nothing. */
export const discoveredFilter = (query: v.InferOutput<typeof DiscoveredQuery>): DiscoveredFilter => ({
  agentId: query.agent_id || undefined,
  status: (query.status || undefined) as DiscoveredFilter["status"],
  search: query.q,
})

export const DiscoveredAnswer = v.pipe(
  v.object({
    id: v.string(),
    fingerprint_sha256: v.string(),
    common_name: v.string(),
    sans: v.array(v.string()),
    serial_number: v.string(),
    issuer_dn: v.string(),
    subject_dn: v.string(),
    not_before: v.optional(WireTime),
    not_after: v.optional(WireTime),
    key_algorithm: v.string(),
    key_size: whole,
    is_ca: v.boolean(),
    pem_data: v.optional(v.string()),
    source_path: v.string(),
    source_format: v.string(),
    agent_id: v.string(),
    discovery_scan_id: v.optional(v.string()),
    managed_certificate_id: v.optional(v.string()),
    status: v.picklist(statuses),
    first_seen_at: WireTime,
    last_seen_at: WireTime,
    dismissed_at: v.optional(WireTime),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "DiscoveredCertificate" }),
)

export const DiscoveredListAnswer = pagedListOf(DiscoveredAnswer)

export const discoveredAnswer = (found: DiscoveredRow) =>
  withoutAbsent({
    id: found.id,
    fingerprint_sha256: found.fingerprintSha256,
    common_name: found.commonName,
    sans: found.sans,
    serial_number: found.serialNumber,
    issuer_dn: found.issuerDn,
    subject_dn: found.subjectDn,
    not_before: optionalTime(found.notBefore),
    not_after: optionalTime(found.notAfter),
    key_algorithm: found.keyAlgorithm,
    key_size: found.keySize,
    is_ca: found.isCa,
    pem_data: found.pemData || undefined,
    source_path: found.sourcePath,
    source_format: found.sourceFormat,
    agent_id: found.agentId,
    discovery_scan_id: found.discoveryScanId,
    managed_certificate_id: found.managedCertificateId,
    status: found.status,
    first_seen_at: requiredTime(found.firstSeenAt),
    last_seen_at: requiredTime(found.lastSeenAt),
    dismissed_at: optionalTime(found.dismissedAt),
    created_at: requiredTime(found.createdAt),
    updated_at: requiredTime(found.updatedAt),
  })

export const ClaimBody = v.object({ managed_certificate_id: v.pipe(v.string(), v.minLength(1), v.maxLength(255)) })
export const ClaimAnswer = v.object({ status: v.literal("claimed"), message: v.string() })
export const DismissAnswer = v.object({ status: v.literal("dismissed"), message: v.string() })

export const SummaryAnswer = v.object({ Unmanaged: whole, Managed: whole, Dismissed: whole })

export const ScanQuery = v.object({
  agent_id: v.optional(v.string()),
  ...listParams(["id", "agent_id", "directories"]),
})

export const ScanAnswer = v.pipe(
  v.object({
    id: v.string(),
    agent_id: v.string(),
    directories: v.array(v.string()),
    certificates_found: whole,
    certificates_new: whole,
    errors_count: whole,
    scan_duration_ms: whole,
    started_at: WireTime,
    completed_at: v.optional(WireTime),
  }),
  v.metadata({ ref: "DiscoveryScan" }),
)

export const ScanListAnswer = pagedListOf(ScanAnswer)

export const scanAnswer = (scan: ScanRow) =>
  withoutAbsent({
    id: scan.id,
    agent_id: scan.agentId,
    directories: scan.directories,
    certificates_found: scan.certificatesFound,
    certificates_new: scan.certificatesNew,
    errors_count: scan.errorsCount,
    scan_duration_ms: scan.scanDurationMs,
    started_at: requiredTime(scan.startedAt),
    completed_at: optionalTime(scan.completedAt),
  })
