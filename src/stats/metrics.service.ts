/** Metrics, as JSON and for Prometheus. What the database knows is counted when it is asked for, the same on every server. */
import { Counter, Gauge, type Registry } from "prom-client"
import type { Clock } from "../clock"
import type { StatsService } from "./stats.service"

export interface Metrics {
  readonly certificateTotal: number
  readonly certificateActive: number
  readonly certificateExpiringSoon: number
  readonly certificateExpired: number
  readonly certificateRevoked: number
  readonly agentTotal: number
  readonly agentOnline: number
  readonly jobPending: number
  readonly jobCompletedTotal: number
  readonly jobFailedTotal: number
  readonly notificationsDeadTotal: number
  readonly uptimeSeconds: number
  readonly serverStarted: Date
  readonly measuredAt: Date
}

interface Deps {
  stats: Pick<StatsService, "summary">
  clock: Clock
  startedAt: Date
  /** Features add their own metrics to it. */
  registry: Registry
}

interface Listed {
  readonly name: string
  readonly help: string
  readonly kind: "gauge" | "counter"
  readonly value: (metrics: Metrics) => number
}

const listed: readonly Listed[] = [
  { name: "certificate_total", kind: "gauge", help: "Certificates of any status", value: (m) => m.certificateTotal },
  {
    name: "certificate_active",
    kind: "gauge",
    help: "Certificates that are neither expiring, expired nor revoked",
    value: (m) => m.certificateActive,
  },
  {
    name: "certificate_expiring_soon",
    kind: "gauge",
    help: "Certificates that expire within 30 days",
    value: (m) => m.certificateExpiringSoon,
  },
  { name: "certificate_expired", kind: "gauge", help: "Expired certificates", value: (m) => m.certificateExpired },
  { name: "certificate_revoked", kind: "gauge", help: "Revoked certificates", value: (m) => m.certificateRevoked },
  { name: "agent_total", kind: "gauge", help: "Agents that are not retired", value: (m) => m.agentTotal },
  { name: "agent_online", kind: "gauge", help: "Agents heard of within 5 minutes", value: (m) => m.agentOnline },
  { name: "job_pending", kind: "gauge", help: "Jobs that wait or run", value: (m) => m.jobPending },
  { name: "job_completed_total", kind: "counter", help: "Jobs that completed", value: (m) => m.jobCompletedTotal },
  { name: "job_failed_total", kind: "counter", help: "Jobs that failed", value: (m) => m.jobFailedTotal },
  {
    name: "notification_dead_total",
    kind: "counter",
    help: "Notifications given up on",
    value: (m) => m.notificationsDeadTotal,
  },
  { name: "uptime_seconds", kind: "gauge", help: "Seconds since this server started", value: (m) => m.uptimeSeconds },
]

/** Sets a metric to a value counted elsewhere. */
const setterIn = (registry: Registry, { name, kind, help }: Listed): ((value: number) => void) => {
  const facts = { name: `certctl_${name}`, help, registers: [registry] }
  if (kind === "gauge") {
    const gauge = new Gauge(facts)
    return (value) => gauge.set(value)
  }
  const counter = new Counter(facts)
  return (value) => {
    counter.reset()
    counter.inc(value)
  }
}

export const metricsService = ({ stats, clock, startedAt, registry }: Deps) => {
  const setters = listed.map((metric) => ({ set: setterIn(registry, metric), value: metric.value }))

  const measure = async (): Promise<Metrics> => {
    const summary = await stats.summary()
    const { totalCertificates, expiringCertificates, expiredCertificates, revokedCertificates } = summary
    const measuredAt = clock.now()
    return {
      certificateTotal: totalCertificates,
      certificateActive: totalCertificates - expiringCertificates - expiredCertificates - revokedCertificates,
      certificateExpiringSoon: expiringCertificates,
      certificateExpired: expiredCertificates,
      certificateRevoked: revokedCertificates,
      agentTotal: summary.totalAgents,
      agentOnline: summary.activeAgents,
      jobPending: summary.pendingJobs,
      jobCompletedTotal: summary.completeJobs,
      jobFailedTotal: summary.failedJobs,
      notificationsDeadTotal: summary.notificationsDead,
      uptimeSeconds: Math.floor((measuredAt.getTime() - startedAt.getTime()) / 1000),
      serverStarted: startedAt,
      measuredAt,
    }
  }

  return {
    measure,

    /** The text format of Prometheus, version 0.0.4. */
    async prometheus(): Promise<{ text: string; contentType: string }> {
      const metrics = await measure()
      for (const { set, value } of setters) set(value(metrics))
      return { text: await registry.metrics(), contentType: registry.contentType }
    },
  }
}

export type MetricsService = ReturnType<typeof metricsService>
