/**
 * Numbers over all rows. They come from counters that are kept up to date; only where "now" cuts a day in two, the rows of that
 * day are counted, over an index.
 */
import { and, gte, inArray, isNull, lt, type SQL, sql } from "drizzle-orm"
import type { Db } from "../db/db"
import { type DayCount, rowCounts, type TimeRange } from "../db/row-counts"
import { certificateStatuses } from "../db/tables/certificate.tables"

type CertificateStatus = (typeof certificateStatuses)[number]

export interface Moments {
  readonly now: Date
  readonly expiringUntil: Date
  /** An agent that was heard since is active. */
  readonly heardSince: Date
}

export interface Totals {
  readonly certificates: number
  readonly revoked: number
  readonly expired: number
  readonly expiring: number
  readonly agents: number
  readonly activeAgents: number
  readonly deadNotifications: number
  readonly jobsByStatus: ReadonlyMap<string, number>
}

export interface FinishedJobs {
  /** Days since 1970-01-01, UTC. */
  readonly day: number
  readonly completed: number
  readonly failed: number
}

const managed = certificateStatuses.filter((status) => status !== "Revoked" && status !== "Archived")
/** Of those, the ones whose date has the last word. */
const dated = managed.filter((status) => status !== "Expired")

export const statsStore = ({ t, read }: Db) => {
  const { certificates, agents } = t
  const counts = rowCounts({ t, read })

  /** Certificates of some statuses that expire in a range. */
  const expiringIn = (range: TimeRange, status: readonly CertificateStatus[]): SQL<number> => {
    const { status: stored, expiresAt } = certificates
    const inPiece = ({ from, until }: { from: Date; until: Date }) =>
      sql`(select count(*) from ${certificates} where ${and(inArray(stored, [...status]), gte(expiresAt, from), lt(expiresAt, until))})`
    return counts.term.within("certificateExpiries", range, inPiece, { status })
  }
  /** A table of one row, for queries that are made of terms. */
  const one = sql`(select 1) as one`

  return {
    /** Certificates, jobs, agents that are not retired, and what was never delivered. */
    async totals({ now, expiringUntil, heardSince }: Moments): Promise<Totals> {
      const isThere = isNull(agents.retiredAt)
      const agentsWhere = (where: SQL | undefined) =>
        sql`(select count(*) from ${agents} where ${where})`.mapWith(Number)
      const [[byStatus = [], jobs = []], [row]] = await Promise.all([
        counts.byValues(["certificates", "status"], ["jobs", "status"]),
        read
          .select({
            lapsed: expiringIn({ from: null, until: now }, dated),
            expiring: expiringIn({ from: now, until: expiringUntil }, dated),
            agents: agentsWhere(isThere),
            activeAgents: agentsWhere(and(isThere, gte(agents.lastHeartbeatAt, heardSince))),
            deadNotifications: counts.term.total("notifications", { status: "dead" }),
          })
          .from(one),
      ])
      if (row === undefined) throw new Error("a query without a table gave no row")
      const of = (status: CertificateStatus) => byStatus.find(({ value }) => value === status)?.count ?? 0
      const { lapsed, ...counted } = row
      const certificates = byStatus.reduce((sum, group) => sum + group.count, 0)
      return {
        ...counted,
        certificates,
        revoked: of("Revoked"),
        expired: of("Expired") + lapsed,
        jobsByStatus: new Map(jobs.map(({ value, count }) => [value ?? "", count])),
      }
    },

    /** As stored, except that Active is judged by the date. */
    async certificatesByStatus(now: Date, expiringUntil: Date): Promise<{ status: string; count: number }[]> {
      const [byStatus, [moving]] = await Promise.all([
        counts.byValue("certificates", "status"),
        read
          .select({
            expired: expiringIn({ from: null, until: now }, ["Active"]),
            expiring: expiringIn({ from: now, until: expiringUntil }, ["Active"]),
          })
          .from(one),
      ])
      const { expired, expiring } = moving ?? { expired: 0, expiring: 0 }
      const moved: Partial<Record<CertificateStatus, number>> = {
        Active: -expired - expiring,
        Expired: expired,
        Expiring: expiring,
      }
      return [...certificateStatuses]
        .sort()
        .map((status) => {
          const stored = byStatus.find(({ value }) => value === status)?.count ?? 0
          return { status, count: stored + (moved[status] ?? 0) }
        })
        .filter((group) => group.count > 0)
    },

    /** Whole days. */
    expirations: (range: TimeRange): Promise<DayCount[]> =>
      counts.perDay("certificateExpiries", range, { status: managed }),

    /** Whole days. */
    creations: (range: TimeRange): Promise<DayCount[]> => counts.perDay("certificateCreations", range),

    /** Whole days. */
    async finishedJobs(range: TimeRange): Promise<FinishedJobs[]> {
      const [completed, failed] = await Promise.all([
        counts.perDay("finishedJobs", range, { status: "Completed" }),
        counts.perDay("finishedJobs", range, { status: "Failed" }),
      ])
      const days = new Map<number, FinishedJobs>()
      for (const { day, count } of completed) days.set(day, { day, completed: count, failed: 0 })
      for (const { day, count } of failed) {
        days.set(day, { day, completed: days.get(day)?.completed ?? 0, failed: count })
      }
      return [...days.values()]
    },
  }
}

export type StatsStore = ReturnType<typeof statsStore>
