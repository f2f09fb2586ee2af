/** Health checks and their history on the wire. */
import * as v from "valibot"
import { addressOf } from "../connectors/probe"
import { sanOf, sanProblem } from "../pki/names"
import { documentedAs, documentedLoosely, documentSchema } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ChosenId, OptionalReference, withoutUndefined } from "../server/resource.schema"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { HealthCheckPatch, NewHealthCheck } from "./health-check.service"
import type { HealthCheckFilter, HealthCheckRow, HealthHistoryRow } from "./health-check.store"

const statuses = ["healthy", "degraded", "down", "cert_mismatch", "unknown"] as const
const defaults = { checkIntervalSeconds: 300, degradedThreshold: 2, downThreshold: 5 }
const shortestIntervalSeconds = 30
const longestIntervalSeconds = 31_536_000
const mostFailures = 1_000_000

/** `host`, `host:port`, `[v6]:port` or an IPv6 address alone, in one spelling with its port. null: none of them. */
const endpointOf = (text: string): string | null => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = (bracketed ?? plain ?? text).toLowerCase()
  const port = digits === undefined ? 443 : Number(digits)
  const { type, value } = sanOf(host)
  if ((type !== "dns" && type !== "ip") || host.includes("*") || sanProblem(host) !== null) return null
  return port >= 1 && port <= 65_535 ? addressOf(value, port) : null
}

const Endpoint = v.pipe(
  v.string(),
  documentedAs({
    type: "string",
    format: "endpoint",
    description: "host, host:port or [IPv6]:port; without a port 443",
  }),
  v.trim(),
  v.minLength(1),
  v.maxLength(262),
  v.check((text) => endpointOf(text) !== null, "must be host:port"),
  v.transform((text) => endpointOf(text) ?? text),
)

/** Colons and capitals, as openssl prints them, are taken too. */
const Fingerprint = v.pipe(
  v.string(),
  documentedAs({ type: "string", pattern: "^:*(([0-9A-Fa-f]:*){64})?$" }),
  v.transform((text) => text.replaceAll(":", "").toLowerCase()),
  v.check((text) => /^([0-9a-f]{64})?$/.test(text), "must be a SHA-256 fingerprint in hex, or empty"),
)

const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))

const thresholds = {
  check_interval_seconds: whole(shortestIntervalSeconds, longestIntervalSeconds),
  degraded_threshold: whole(1, mostFailures),
  down_threshold: whole(1, mostFailures),
}

/** Zero and less take the default, as clients send them for what nobody filled in. */
const orDefault = <S extends v.GenericSchema<number, number>>(schema: S, value: number) =>
  v.optional(
    v.pipe(
      v.number(),
      documentedAs({ anyOf: [documentSchema(schema, "input").schema, { type: "number", maximum: 0 }] }),
      v.transform((number) => (number <= 0 ? value : number)),
      schema,
    ),
    value,
  )

export const NewHealthCheckBody = v.pipe(
  v.object({
    endpoint: Endpoint,
    id: ChosenId,
    certificate_id: v.nullish(OptionalReference),
    network_scan_target_id: v.nullish(OptionalReference),
    expected_fingerprint: v.optional(Fingerprint, ""),
    status: v.optional(v.picklist([...statuses, ""]), "unknown"),
    check_interval_seconds: orDefault(thresholds.check_interval_seconds, defaults.checkIntervalSeconds),
    degraded_threshold: orDefault(thresholds.degraded_threshold, defaults.degradedThreshold),
    down_threshold: orDefault(thresholds.down_threshold, defaults.downThreshold),
    enabled: v.optional(v.boolean(), true),
  }),
  v.transform(
    (body): NewHealthCheck => ({
      id: body.id,
      endpoint: body.endpoint,
      certificateId: body.certificate_id ?? null,
      networkScanTargetId: body.network_scan_target_id ?? null,
      expectedFingerprint: body.expected_fingerprint,
      status: body.status === "" ? "unknown" : body.status,
      checkIntervalSeconds: body.check_interval_seconds,
      degradedThreshold: body.degraded_threshold,
      downThreshold: body.down_threshold,
      enabled: body.enabled,
    }),
  ),
)

export const HealthCheckPatchBody = v.pipe(
  v.partial(v.object({ endpoint: Endpoint, expected_fingerprint: Fingerprint, ...thresholds, enabled: v.boolean() })),
  v.transform(
    (body): HealthCheckPatch =>
      withoutUndefined({
        endpoint: body.endpoint,
        expectedFingerprint: body.expected_fingerprint,
        checkIntervalSeconds: body.check_interval_seconds,
        degradedThreshold: body.degraded_threshold,
        downThreshold: body.down_threshold,
        enabled: body.enabled,
      }),
  ),
)

const anyText = v.optional(v.string())

export const HealthCheckQuery = v.object({
  status: anyText,
  certificate_id: anyText,
  network_scan_target_id: anyText,
  enabled: v.optional(v.pipe(v.string(), v.description("true; anything else is false"))),
  ...listParams(["id", "endpoint", "cert_subject", "cert_issuer", "failure_reason"]),
})

/** An empty filter counts as absent; a value that no row can have finds nothing. */
export const healthCheckFilter = (query: v.InferOutput<typeof HealthCheckQuery>): HealthCheckFilter => ({
  status: (query.status || undefined) as HealthCheckFilter["status"],
  certificateId: query.certificate_id || undefined,
  networkScanTargetId: query.network_scan_target_id || undefined,
  enabled: query.enabled ? query.enabled === "true" : undefined,
  search: query.q,
})

const wholeNumber = v.pipe(v.number(), v.integer())

export const HealthCheckAnswer = v.pipe(
  v.object({
    id: v.string(),
    endpoint: v.string(),
    certificate_id: v.optional(v.string()),
    network_scan_target_id: v.optional(v.string()),
    expected_fingerprint: v.string(),
    observed_fingerprint: v.string(),
    status: v.picklist(statuses),
    consecutive_failures: wholeNumber,
    response_time_ms: wholeNumber,
    tls_version: v.string(),
    cipher_suite: v.string(),
    cert_subject: v.string(),
    cert_issuer: v.string(),
    cert_expiry: v.optional(WireTime),
    last_checked_at: v.optional(WireTime),
    last_success_at: v.optional(WireTime),
    last_failure_at: v.optional(WireTime),
    last_transition_at: v.optional(WireTime),
    failure_reason: v.string(),
    degraded_threshold: wholeNumber,
    down_threshold: wholeNumber,
    check_interval_seconds: wholeNumber,
    enabled: v.boolean(),
    acknowledged: v.boolean(),
    acknowledged_by: v.optional(v.string()),
    acknowledged_at: v.optional(WireTime),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "HealthCheck" }),
)

export const HealthCheckListAnswer = pagedListOf(HealthCheckAnswer)

export const healthCheckAnswer = (check: HealthCheckRow) =>
  withoutAbsent({
    id: check.id,
    endpoint: check.endpoint,
    certificate_id: check.certificateId,
    network_scan_target_id: check.networkScanTargetId,
    expected_fingerprint: check.expectedFingerprint,
    observed_fingerprint: check.observedFingerprint,
    status: check.status,
    consecutive_failures: check.consecutiveFailures,
    response_time_ms: check.responseTimeMs,
    tls_version: check.tlsVersion,
    cipher_suite: check.cipherSuite,
    cert_subject: check.certSubject,
    cert_issuer: check.certIssuer,
    cert_expiry: optionalTime(check.certExpiry),
    last_checked_at: optionalTime(check.lastCheckedAt),
    last_success_at: optionalTime(check.lastSuccessAt),
    last_failure_at: optionalTime(check.lastFailureAt),
    last_transition_at: optionalTime(check.lastTransitionAt),
    failure_reason: check.failureReason,
    degraded_threshold: check.degradedThreshold,
    down_threshold: check.downThreshold,
    check_interval_seconds: check.checkIntervalSeconds,
    enabled: check.enabled,
    acknowledged: check.acknowledged,
    acknowledged_by: check.acknowledgedBy || undefined,
    acknowledged_at: optionalTime(check.acknowledgedAt),
    created_at: requiredTime(check.createdAt),
    updated_at: requiredTime(check.updatedAt),
  })

export const HealthSummaryAnswer = v.object({
  healthy: wholeNumber,
  degraded: wholeNumber,
  down: wholeNumber,
  cert_mismatch: wholeNumber,
  unknown: wholeNumber,
  total: wholeNumber,
})

const defaultHistory = 100
const mostHistory = 1000

export const HistoryQuery = v.object({
  limit: v.optional(
    v.pipe(
      v.string(),
      documentedLoosely({ type: "integer", minimum: 1, maximum: mostHistory }),
      v.transform((text) => {
        const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0
        return limit < 1 ? defaultHistory : Math.min(limit, mostHistory)
      }),
    ),
    String(defaultHistory),
  ),
})

export const HistoryAnswer = v.array(
  v.pipe(
    v.object({
      id: v.string(),
      health_check_id: v.string(),
      status: v.string(),
      response_time_ms: wholeNumber,
      fingerprint: v.string(),
      failure_reason: v.string(),
      checked_at: WireTime,
    }),
    v.metadata({ ref: "HealthHistory" }),
  ),
)

export const historyAnswer = (row: HealthHistoryRow) => ({
  id: row.id,
  health_check_id: row.healthCheckId,
  status: row.status,
  response_time_ms: row.responseTimeMs,
  fingerprint: row.fingerprint,
  failure_reason: row.failureReason,
  checked_at: requiredTime(row.checkedAt),
})

const Name = v.optional(v.pipe(v.string(), v.maxLength(255)), "")

/** Counts only where authentication is off: otherwise whoever asks is known. */
export const AcknowledgeBody = v.object({ actor: Name, acknowledged_by: Name })
