/** Watched endpoints: which there are, what is expected of them, and who has seen that one is in trouble. */
import { type Actor, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { ProbeResult } from "../connectors/probe"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import { afterLook, canMove, isNews, notJudged } from "./health-check.machine"
import type {
  HealthCheckFilter,
  HealthCheckRow,
  HealthCheckStore,
  HealthStatus,
  NewHealthCheckRow,
} from "./health-check.store"

interface Settings {
  /** `host:port`, in one spelling. */
  endpoint: string
  /** SHA-256 of the leaf that should be served, lower-case hex; empty: any. */
  expectedFingerprint: string
  checkIntervalSeconds: number
  degradedThreshold: number
  downThreshold: number
  enabled: boolean
}

export type NewHealthCheck = Settings & {
  id?: string
  certificateId: string | null
  networkScanTargetId: string | null
  status: HealthStatus
}
export type HealthCheckPatch = Partial<Settings>

interface Deps {
  db: Pick<Db, "transaction">
  checks: HealthCheckStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Tells people, in the transaction of the change. */
  onNews?: (tx: Tx, check: HealthCheckRow) => Promise<void>
}

const resourceType = "health_check"

const notFound = (id: string) => new AppError("not_found", `health check ${id} does not exist`)
const taken = (endpoint: string | undefined, id?: string) =>
  new AppError(
    "conflict",
    `a health check of ${endpoint} for the same certificate${id ? ` or with the id "${id}"` : ""} exists already`,
  )

const demandOrder = ({ degradedThreshold, downThreshold }: Pick<Settings, "degradedThreshold" | "downThreshold">) => {
  if (downThreshold <= degradedThreshold) {
    throw new AppError("validation", `down_threshold must be greater than degraded_threshold (${degradedThreshold})`)
  }
}

const unseen = { acknowledged: false, acknowledgedBy: "", acknowledgedAt: null } as const

/** Nothing is known of an endpoint until it was looked at with what is expected of it now. */
const forgotten = {
  ...notJudged,
  lastCheckedAt: null,
  ...unseen,
} satisfies Partial<NewHealthCheckRow>

/** "TLSv1.3" as people write it. */
const versionName = (tlsVersion: string): string => tlsVersion.replace(/^TLSv/, "TLS ")

const servedBy = ({ served }: Extract<ProbeResult, { ok: true }>, now: Date) => ({
  observedFingerprint: served.fingerprint,
  tlsVersion: versionName(served.tlsVersion),
  cipherSuite: served.cipherSuite,
  certSubject: served.subject,
  certIssuer: served.issuer,
  certExpiry: served.notAfter,
  lastSuccessAt: now,
  failureReason: "",
})

const notSeen = {
  ...forgotten,
  observedFingerprint: "",
  responseTimeMs: 0,
  tlsVersion: "",
  cipherSuite: "",
  certSubject: "",
  certIssuer: "",
  certExpiry: null,
  lastSuccessAt: null,
  lastFailureAt: null,
  lastTransitionAt: null,
  failureReason: "",
} satisfies Partial<NewHealthCheckRow>

const forgets = (before: HealthCheckRow, { endpoint, expectedFingerprint }: HealthCheckPatch) => {
  if (endpoint !== undefined && endpoint !== before.endpoint) return notSeen
  const changesPin = expectedFingerprint !== undefined && expectedFingerprint !== before.expectedFingerprint
  return changesPin ? forgotten : {}
}

export const healthCheckService = ({ db, checks, audit, clock, onNews }: Deps) => {
  const get = async (id: string): Promise<HealthCheckRow> => {
    const check = await checks.get(id)
    if (check === null) throw notFound(id)
    return check
  }

  return {
    get,

    /** Newest first. */
    async list(filter: HealthCheckFilter, slice: Slice) {
      const [rows, total] = await Promise.all([checks.list(filter, slice), checks.total(filter)])
      return { rows, total }
    },

    /** How many there are of each status, none left out. */
    async summary() {
      const counts = { healthy: 0, degraded: 0, down: 0, cert_mismatch: 0, unknown: 0, total: 0 }
      for (const { status, n } of await checks.countByStatus()) {
        counts[status] = n
        counts.total += n
      }
      return counts
    },

    /** What was seen there, newest first. @throws AppError `not_found` */
    async history(id: string, limit: number) {
      await get(id)
      return checks.history(id, limit)
    },

    /**
     * @throws AppError `validation`; `bad_reference` naming the field; `conflict` the id is taken, or the endpoint is watched
     *   for the same certificate
     */
    create({ id, ...settings }: NewHealthCheck, actor: Actor): Promise<HealthCheckRow> {
      demandOrder(settings)
      const { certificateId, networkScanTargetId } = settings
      return db.transaction(async (tx) => {
        if (certificateId !== null && !(await checks.hasCertificate(tx, certificateId))) {
          throw new AppError("bad_reference", `certificate_id must be an existing id; there is no ${certificateId}`)
        }
        if (networkScanTargetId !== null && !(await checks.hasNetworkScanTarget(tx, networkScanTargetId))) {
          throw new AppError(
            "bad_reference",
            `network_scan_target_id must be an existing id; there is no ${networkScanTargetId}`,
          )
        }
        const now = clock.now()
        const row = { ...settings, id: id ?? newId("hc-"), createdAt: now, updatedAt: now }
        const check = await checks.insert(tx, row)
        if (check === null) throw taken(settings.endpoint, id)
        await audit.append(tx, {
          action: "health_check_created",
          actor,
          resourceType,
          resourceId: check.id,
          details: { endpoint: check.endpoint },
        })
        return check
      })
    },

    /**
     * Keys that are absent keep their value. What was seen at another endpoint, or judged by another pin, is forgotten.
     * @throws AppError `not_found`; `validation`; `conflict`
     */
    update: (id: string, patch: HealthCheckPatch, actor: Actor): Promise<HealthCheckRow> =>
      explainRefusals({ duplicate: () => taken(patch.endpoint) }, () =>
        db.transaction(async (tx) => {
          const before = await checks.lock(tx, id)
          if (before === null) throw notFound(id)
          demandOrder({
            degradedThreshold: patch.degradedThreshold ?? before.degradedThreshold,
            downThreshold: patch.downThreshold ?? before.downThreshold,
          })
          const check = await checks.update(tx, id, {
            ...patch,
            ...forgets(before, patch),
            updatedAt: clock.now(),
          })
          if (check === null) throw notFound(id)
          const [from, to] = [before.status, check.status]
          await audit.append(tx, {
            action: "health_check_updated",
            actor,
            resourceType,
            resourceId: id,
            details: { changed: Object.keys(patch), ...(canMove(from, to) ? { from, to } : {}) },
          })
          return check
        }),
      ),

    /** Its history goes with it. @throws AppError `not_found` */
    remove: (id: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        if (!(await checks.remove(tx, id))) throw notFound(id)
        await audit.append(tx, { action: "health_check_deleted", actor, resourceType, resourceId: id })
      }),

    /**
     * What a look at the endpoint found. null where nothing is made of it: the check is gone or off, or watches another endpoint
     * by now.
     */
    observe: (id: string, seen: ProbeResult): Promise<HealthCheckRow | null> =>
      db.transaction(async (tx) => {
        const before = await checks.lock(tx, id)
        if (before === null || !before.enabled || before.endpoint !== seen.address) return null
        const now = clock.now()
        const look = seen.ok ? { ok: true as const, fingerprint: seen.served.fingerprint } : { ok: false as const }
        const state = afterLook(before, look)
        const [from, to] = [before.status, state.status]
        const hasMoved = canMove(from, to)
        const check = await checks.update(tx, id, {
          ...state,
          ...(seen.ok ? servedBy(seen, now) : { failureReason: seen.error, lastFailureAt: now }),
          responseTimeMs: seen.responseMs,
          lastCheckedAt: now,
          updatedAt: now,
          ...(hasMoved ? { ...unseen, lastTransitionAt: now } : {}),
        })
        if (check === null) return null
        await checks.addHistory(tx, {
          id: newId("hh-"),
          healthCheckId: id,
          status: to,
          responseTimeMs: seen.responseMs,
          fingerprint: seen.ok ? seen.served.fingerprint : "",
          failureReason: seen.ok ? "" : seen.error,
          checkedAt: now,
        })
        if (!hasMoved) return check
        await audit.append(tx, {
          action: "health_check_status_transition",
          actor: systemActor,
          resourceType,
          resourceId: id,
          details: { from, to, endpoint: check.endpoint },
        })
        if (isNews(from, to)) await onNews?.(tx, check)
        return check
      }),

    /** Somebody has seen the state it is in; the next change of state asks anew. @throws AppError `not_found` */
    acknowledge: (id: string, by: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const now = clock.now()
        const check = await checks.update(tx, id, {
          acknowledged: true,
          acknowledgedBy: by,
          acknowledgedAt: now,
          updatedAt: now,
        })
        if (check === null) throw notFound(id)
        await audit.append(tx, {
          action: "health_check_acknowledged",
          actor,
          resourceType,
          resourceId: id,
          details: { by, status: check.status },
        })
      }),
  }
}

export type HealthCheckService = ReturnType<typeof healthCheckService>
