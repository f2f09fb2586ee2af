/** The numbers of dashboard, metrics and digest, and the list of what needs attention. */
import type { Clock } from "../clock"
import { dayOf, startOfDay } from "../db/counted-lists"
import type { DayCount } from "../db/row-counts"
import type { AttentionStore, FailedRenewal, Listed, SilentAgent, UnattendedCertificate } from "./attention.store"
import type { StatsStore } from "./stats.store"

const dayMs = 86_400_000
/** Certificates that lapse within this time count as expiring. */
const expiringMs = 30 * dayMs
/** An agent heard of within this time is active. */
const activeMs = 5 * 60_000
/** Silence is reported only after longer: a restarted host or a blip of the network is no news. */
const silentMs = 15 * 60_000
const attentionRows = 20

export interface Summary {
  readonly totalCertificates: number
  readonly expiringCertificates: number
  readonly expiredCertificates: number
  readonly revokedCertificates: number
  readonly activeAgents: number
  readonly offlineAgents: number
  readonly totalAgents: number
  /** Waiting or running. */
  readonly pendingJobs: number
  readonly failedJobs: number
  readonly completeJobs: number
  readonly notificationsDead: number
  readonly measuredAt: Date
}

export interface Attention {
  readonly failedRenewals: Listed<FailedRenewal>
  readonly unattended: Listed<UnattendedCertificate>
  readonly silentAgents: Listed<SilentAgent>
}

interface Deps {
  stats: StatsStore
  attention: AttentionStore
  clock: Clock
  /** Agents make the keys, so that a certificate without agent is renewed by nobody. */
  needsAgent: boolean
}

const dateOf = (day: number): string => startOfDay(day).toISOString().slice(0, 10)

/** One row per day of the range, also for days on which nothing happened. */
const perDay = <Row>(first: number, days: number, row: (day: number) => Row): Row[] =>
  Array.from({ length: days }, (_, i) => row(first + i))

const byDay = (counts: readonly DayCount[]): ((day: number) => number) => {
  const known = new Map(counts.map(({ day, count }) => [day, count]))
  return (day) => known.get(day) ?? 0
}

export const statsService = ({ stats, attention, clock, needsAgent }: Deps) => {
  /** The last `days` days, today included. */
  const past = (days: number) => {
    const last = dayOf(clock.now())
    const first = last - days + 1
    return { first, range: { from: startOfDay(first), until: startOfDay(last + 1) } }
  }

  return {
    async summary(): Promise<Summary> {
      const now = clock.now()
      const totals = await stats.totals({
        now,
        expiringUntil: new Date(now.getTime() + expiringMs),
        heardSince: new Date(now.getTime() - activeMs),
      })
      const jobsIn = (...statuses: string[]) =>
        statuses.reduce((sum, status) => sum + (totals.jobsByStatus.get(status) ?? 0), 0)
      return {
        totalCertificates: totals.certificates,
        expiringCertificates: totals.expiring,
        expiredCertificates: totals.expired,
        revokedCertificates: totals.revoked,
        activeAgents: totals.activeAgents,
        offlineAgents: totals.agents - totals.activeAgents,
        totalAgents: totals.agents,
        pendingJobs: jobsIn("Pending", "AwaitingCSR", "AwaitingApproval", "Running"),
        failedJobs: jobsIn("Failed"),
        completeJobs: jobsIn("Completed"),
        notificationsDead: totals.deadNotifications,
        measuredAt: now,
      }
    },

    certificatesByStatus() {
      const now = clock.now()
      return stats.certificatesByStatus(now, new Date(now.getTime() + expiringMs))
    },

    /** How many certificates lapse on each of the coming days, today first. */
    async expirationTimeline(days: number) {
      const first = dayOf(clock.now())
      const countOn = byDay(await stats.expirations({ from: startOfDay(first), until: startOfDay(first + days) }))
      return perDay(first, days, (day) => ({ date: dateOf(day), count: countOn(day) }))
    },

    /** Jobs that ended on each of the past days, today last. */
    async jobTrends(days: number) {
      const { first, range } = past(days)
      const rows = new Map((await stats.finishedJobs(range)).map((row) => [row.day, row]))
      return perDay(first, days, (day) => {
        const { completed, failed } = rows.get(day) ?? { completed: 0, failed: 0 }
        const ended = completed + failed
        return { date: dateOf(day), completed, failed, successRate: ended === 0 ? 0 : (completed / ended) * 100 }
      })
    },

    /** Certificates created on each of the past days, today last. */
    async issuanceRate(days: number) {
      const { first, range } = past(days)
      const countOn = byDay(await stats.creations(range))
      return perDay(first, days, (day) => ({ date: dateOf(day), count: countOn(day) }))
    },

    /** What somebody should look at, soonest expiry first; at most 20 rows of each kind. */
    async attention(): Promise<Attention> {
      const now = clock.now().getTime()
      const [failedRenewals, unattended, silentAgents] = await Promise.all([
        attention.failedRenewals(attentionRows),
        attention.unattended(new Date(now + expiringMs), needsAgent, attentionRows),
        attention.silentAgents(new Date(now - silentMs), attentionRows),
      ])
      return { failedRenewals, unattended, silentAgents }
    },
  }
}

export type StatsService = ReturnType<typeof statsService>
