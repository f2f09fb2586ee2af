/** Statistics and metrics on the wire. */
import * as v from "valibot"
import { documentedLoosely } from "../server/json-schema"
import { requiredTime, WireTime } from "../server/wire"
import type { Metrics } from "./metrics.service"
import type { Summary } from "./stats.service"

const defaultDays = 30
const mostDays = 365

/** A number of days out of range counts as the default. */
export const DaysQuery = v.object({
  days: v.optional(
    v.pipe(
      v.string(),
      v.transform((text) => {
        const days = /^\d{1,3}$/.test(text) ? Number(text) : 0
        return days >= 1 && days <= mostDays ? days : defaultDays
      }),
      documentedLoosely({ type: "integer", minimum: 1, maximum: mostDays }),
    ),
    String(defaultDays),
  ),
})

const Count = v.pipe(v.number(), v.integer(), v.minValue(0))

export const SummaryAnswer = v.object({
  total_certificates: Count,
  expiring_certificates: Count,
  expired_certificates: Count,
  revoked_certificates: Count,
  active_agents: Count,
  offline_agents: Count,
  total_agents: Count,
  pending_jobs: Count,
  failed_jobs: Count,
  complete_jobs: Count,
  notifications_dead: Count,
  completed_at: WireTime,
})

export const summaryAnswer = (summary: Summary) => ({
  total_certificates: summary.totalCertificates,
  expiring_certificates: summary.expiringCertificates,
  expired_certificates: summary.expiredCertificates,
  revoked_certificates: summary.revokedCertificates,
  active_agents: summary.activeAgents,
  offline_agents: summary.offlineAgents,
  total_agents: summary.totalAgents,
  pending_jobs: summary.pendingJobs,
  failed_jobs: summary.failedJobs,
  complete_jobs: summary.completeJobs,
  notifications_dead: summary.notificationsDead,
  completed_at: requiredTime(summary.measuredAt),
})

const Day = v.pipe(v.string(), v.isoDate())

export const StatusCountsAnswer = v.array(v.object({ status: v.string(), count: Count }))
export const TimelineAnswer = v.array(v.object({ date: Day, count: Count }))
export const JobTrendsAnswer = v.array(
  v.object({ date: Day, completed_count: Count, failed_count: Count, success_rate: v.number() }),
)
export const IssuanceRateAnswer = v.array(v.object({ date: Day, issued_count: Count }))

export const MetricsAnswer = v.object({
  gauge: v.object({
    certificate_total: Count,
    certificate_active: Count,
    certificate_expiring_soon: Count,
    certificate_expired: Count,
    certificate_revoked: Count,
    agent_total: Count,
    agent_online: Count,
    job_pending: Count,
  }),
  counter: v.object({ job_completed_total: Count, job_failed_total: Count, notifications_dead_total: Count }),
  uptime: v.object({ uptime_seconds: Count, server_started: WireTime, measured_at: WireTime }),
})

export const metricsAnswer = (metrics: Metrics) => ({
  gauge: {
    certificate_total: metrics.certificateTotal,
    certificate_active: metrics.certificateActive,
    certificate_expiring_soon: metrics.certificateExpiringSoon,
    certificate_expired: metrics.certificateExpired,
    certificate_revoked: metrics.certificateRevoked,
    agent_total: metrics.agentTotal,
    agent_online: metrics.agentOnline,
    job_pending: metrics.jobPending,
  },
  counter: {
    job_completed_total: metrics.jobCompletedTotal,
    job_failed_total: metrics.jobFailedTotal,
    notifications_dead_total: metrics.notificationsDeadTotal,
  },
  uptime: {
    uptime_seconds: metrics.uptimeSeconds,
    server_started: requiredTime(metrics.serverStarted),
    measured_at: requiredTime(metrics.measuredAt),
  },
})
