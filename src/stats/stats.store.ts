/**
 * Numbers over all rows. They come from counters that are kept up to date; only where "now" cuts a day in two, the rows of that
 * day are counted, over an index.
 */
import { and, count, gte, inArray, isNull, lt, type SQL, sql } from "drizzle-orm"
import type { Db } from "../db/db"
import { type DayCount, rowCounts, type TimeRange } from "../db/row-counts"
import { certificateStatuses } from "../db/tables/certificate.tables"

type CertificateStatus = (typeof certificateStatuses)[number]

export interface CertificateCounts {
  readonly total: number
  readonly revoked: number
  readonly expired: number
  readonly expiring: number
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

  /** Rows for which `condition` holds; a comparison with NULL counts as not. */
  const countIf = (condition: SQL | undefined): SQL<number> =>
    sql`coalesce(sum(case when ${condition ?? sql`1 = 1`} then 1 else 0 end), 0)`.mapWith(Number)

  /** Certificates of some statuses that expire in a range. */
  const expiringIn = (range: TimeRange, status: readonly CertificateStatus[]): Promise<number> =>
    counts.within(
      "certificateExpiries",
      range,
      async ({ from, until }) => {
        const { expiresAt } = certificates
        const [row] = await read
          .select({ n: count() })
          .from(certificates)
          .where(and(inArray(certificates.status, [...status]), gte(expiresAt, from), lt(expiresAt, until)))
        return row?.n ?? 0
      },
      { status },
    )

  return {
    async certificateCounts(now: Date, expiringUntil: Date): Promise<CertificateCounts> {
      const [byStatus, lapsed, expiring] = await Promise.all([
        counts.byValue("certificates", "status"),
        expiringIn({ from: null, until: now }, dated),
        expiringIn({ from: now, until: expiringUntil }, dated),
      ])
      const of = (status: CertificateStatus) => byStatus.find(({ value }) => value === status)?.count ?? 0
      const total = byStatus.reduce((sum, group) => sum + group.count, 0)
      return { total, revoked: of("Revoked"), expired: of("Expired") + lapsed, expiring }
    },

    /** As stored, except that Active is judged by the date. */
    async certificatesByStatus(now: Date, expiringUntil: Date): Promise<{ status: string; count: number }[]> {
      const [byStatus, expired, expiring] = await Promise.all([
        counts.byValue("certificates", "status"),
        expiringIn({ from: null, until: now }, ["Active"]),
        expiringIn({ from: now, until: expiringUntil }, ["Active"]),
      ])
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

    /** Retired agents are not counted. */
    async agentCounts(heardSince: Date): Promise<{ total: number; active: number }> {
      const [row] = await read
        .select({ total: count(), active: countIf(gte(agents.lastHeartbeatAt, heardSince)) })
        .from(agents)
        .where(isNull(agents.retiredAt))
      return row ?? { total: 0, active: 0 }
    },

    async jobCounts(): Promise<{ status: string; count: number }[]> {
      const groups = await counts.byValue("jobs", "status")
      return groups.map(({ value, count }) => ({ status: value ?? "", count }))
    },

    deadNotifications: (): Promise<number> => counts.total("notifications", { status: "dead" }),

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
