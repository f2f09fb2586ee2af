/** Network scan targets on the wire. */
import * as v from "valibot"
import { hostBits, parseRange } from "../agent-groups/address-range"
import { documentedAs } from "../server/json-schema"
import { listParams, pagedListOf } from "../server/paging"
import { ResourceName, withoutUndefined } from "../server/resource.schema"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { NetworkScanTargetPatch, NewNetworkScanTarget } from "./network-scan-target.service"
import type { NetworkScanTargetRow } from "./network-scan-target.store"

/** 4,096 addresses: more would outlast the interval at which they are looked at. */
const mostHostBits = 12

const whole = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))

const Cidr = v.pipe(
  v.string(),
  documentedAs({ type: "string", format: "address-range", description: "At most 4096 addresses" }),
  v.check((text) => {
    const range = parseRange(text)
    return range !== null && hostBits(range) <= mostHostBits
  }, "must be an IP address or a range of at most 4096 addresses (IPv4 /20, IPv6 /116)"),
)

const settings = {
  name: ResourceName,
  cidrs: v.pipe(v.array(Cidr), v.minLength(1, "is required"), v.maxLength(1000)),
  ports: v.pipe(
    v.array(whole(1, 65_535)),
    v.maxLength(100),
    v.transform((ports) => (ports.length === 0 ? [443] : [...new Set(ports)])),
  ),
  enabled: v.boolean(),
  scan_interval_hours: whole(1, 8760),
  timeout_ms: whole(100, 60_000),
  health_check_enabled: v.boolean(),
  health_check_interval_seconds: whole(30, 31_536_000),
}

const Patch = v.partial(v.object(settings))

const columnsOf = (body: v.InferOutput<typeof Patch>): NetworkScanTargetPatch =>
  withoutUndefined({
    name: body.name,
    cidrs: body.cidrs,
    ports: body.ports,
    enabled: body.enabled,
    scanIntervalHours: body.scan_interval_hours,
    timeoutMs: body.timeout_ms,
    healthCheckEnabled: body.health_check_enabled,
    healthCheckIntervalSeconds: body.health_check_interval_seconds,
  })

export const NewNetworkScanTargetBody = v.pipe(
  v.object({ name: settings.name, cidrs: settings.cidrs, ...v.omit(Patch, ["name", "cidrs"]).entries }),
  v.transform(
    ({ name, cidrs, ...rest }): NewNetworkScanTarget => ({
      ports: [443],
      enabled: true,
      scanIntervalHours: 6,
      timeoutMs: 5000,
      healthCheckEnabled: false,
      healthCheckIntervalSeconds: 300,
      ...columnsOf(rest),
      name,
      cidrs,
    }),
  ),
)

export const NetworkScanTargetPatchBody = v.pipe(Patch, v.transform(columnsOf))

export const NetworkScanTargetAnswer = v.pipe(
  v.object({
    id: v.string(),
    name: v.string(),
    cidrs: v.array(v.string()),
    ports: v.array(v.number()),
    enabled: v.boolean(),
    scan_interval_hours: v.number(),
    timeout_ms: v.number(),
    last_scan_at: v.optional(WireTime),
    last_scan_duration_ms: v.optional(v.number()),
    last_scan_certs_found: v.optional(v.number()),
    health_check_enabled: v.boolean(),
    health_check_interval_seconds: v.number(),
    created_at: WireTime,
    updated_at: WireTime,
  }),
  v.metadata({ ref: "NetworkScanTarget" }),
)

export const NetworkScanTargetListAnswer = pagedListOf(NetworkScanTargetAnswer)

export const NetworkScanTargetQuery = v.object(listParams(["id", "name", "cidrs"]))

export const networkScanTargetAnswer = (target: NetworkScanTargetRow) =>
  withoutAbsent({
    id: target.id,
    name: target.name,
    cidrs: target.cidrs,
    ports: target.ports,
    enabled: target.enabled,
    scan_interval_hours: target.scanIntervalHours,
    timeout_ms: target.timeoutMs,
    last_scan_at: optionalTime(target.lastScanAt),
    last_scan_duration_ms: target.lastScanDurationMs,
    last_scan_certs_found: target.lastScanCertsFound,
    health_check_enabled: target.healthCheckEnabled,
    health_check_interval_seconds: target.healthCheckIntervalSeconds,
    created_at: requiredTime(target.createdAt),
    updated_at: requiredTime(target.updatedAt),
  })
