/** Watched endpoints: which there are, what is expected of them, and who has seen that one is in trouble. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
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

/** Nothing is known of an endpoint until it was looked at with what is expected of it now. */
const notJudged = {
  status: "unknown",
  consecutiveFailures: 0,
  lastCheckedAt: null,
  acknowledged: false,
  acknowledgedBy: "",
  acknowledgedAt: null,
} satisfies Partial<NewHealthCheckRow>

const notSeen = {
  ...notJudged,
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

const forgotten = (before: HealthCheckRow, { endpoint, expectedFingerprint }: HealthCheckPatch) => {
  if (endpoint !== undefined && endpoint !== before.endpoint) return notSeen
  const changesPin = expectedFingerprint !== undefined && expectedFingerprint !== before.expectedFingerprint
  return changesPin ? notJudged : {}
}

export const healthCheckService = ({ db, checks, audit, clock }: Deps) => {
  const get = async (id: string): Promise<HealthCheckRow> => {
    const check = await checks.get(id)
    if (check === null) throw notFound(id)
    return check
  }

  return {
    get,

    /** Newest first. */
    async list(filter: HealthCheckFilter, range: { limit: number; offset: number }) {
      const [rows, total] = await Promise.all([checks.list(filter, range), checks.total(filter)])
      return { rows, total }
    },

    /** Newest first, from after a row on. */
    async listAfter(filter: HealthCheckFilter, after: { createdAt: Date; id: string } | null, limit: number) {
      const [rows, total] = await Promise.all([checks.listAfter(filter, after, limit), checks.total(filter)])
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
            ...forgotten(before, patch),
            updatedAt: clock.now(),
          })
          if (check === null) throw notFound(id)
          await audit.append(tx, {
            action: "health_check_updated",
            actor,
            resourceType,
            resourceId: id,
            details: { changed: Object.keys(patch) },
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
