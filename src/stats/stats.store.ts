/** Numbers over all rows, counted by the database. */
import { and, count, eq, gte, inArray, isNotNull, isNull, lt, notInArray, type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db } from "../db/db"

const dayMs = 86_400_000

export interface CertificateCounts {
  readonly total: number
  readonly revoked: number
  readonly expired: number
  readonly expiring: number
}

export interface DayCount {
  /** Days since 1970-01-01, UTC. */
  readonly day: number
  readonly count: number
}

export const statsStore = ({ t, read, dialect }: Db) => {
  const { certificates, agents, jobs, notifications } = t

  /** The UTC day of a time column, as days since 1970-01-01. */
  const dayOf = (column: SQLiteColumn): SQL<number> =>
    (dialect === "sqlite"
      ? sql`(${column} / ${sql.raw(String(dayMs))})`
      : sql`cast(floor(extract(epoch from ${column}) / 86400) as bigint)`
    ).mapWith(Number)

  /** Rows for which `condition` holds; a comparison with NULL counts as not. */
  const countIf = (condition: SQL | undefined): SQL<number> =>
    sql`coalesce(sum(case when ${condition ?? sql`1 = 1`} then 1 else 0 end), 0)`.mapWith(Number)

  const within = (column: SQLiteColumn, from: Date, until: Date) => and(gte(column, from), lt(column, until))

  return {
    async certificateCounts(now: Date, expiringUntil: Date): Promise<CertificateCounts> {
      const { status, expiresAt } = certificates
      const isManaged = notInArray(status, ["Revoked", "Archived"])
      const [row] = await read
        .select({
          total: count(),
          revoked: countIf(eq(status, "Revoked")),
          expired: countIf(and(isManaged, sql`(${status} = 'Expired' or ${expiresAt} < ${sql.param(now, expiresAt)})`)),
          expiring: countIf(
            and(isManaged, sql`${status} <> 'Expired'`, gte(expiresAt, now), lt(expiresAt, expiringUntil)),
          ),
        })
        .from(certificates)
      return row ?? { total: 0, revoked: 0, expired: 0, expiring: 0 }
    },

    /** As stored, except that Active is judged by the date. */
    certificatesByStatus(now: Date, expiringUntil: Date) {
      const { status, expiresAt } = certificates
      const shown = sql<string>`case
        when ${status} <> 'Active' or ${expiresAt} is null then ${status}
        when ${expiresAt} < ${sql.param(now, expiresAt)} then 'Expired'
        when ${expiresAt} < ${sql.param(expiringUntil, expiresAt)} then 'Expiring'
        else ${status} end`
      // Grouped by position: PostgreSQL takes two spellings of an expression with parameters for different ones.
      return read.select({ status: shown, count: count() }).from(certificates).groupBy(sql`1`).orderBy(sql`1`)
    },

    /** Retired agents are not counted. */
    async agentCounts(heardSince: Date): Promise<{ total: number; active: number }> {
      const [row] = await read
        .select({ total: count(), active: countIf(gte(agents.lastHeartbeatAt, heardSince)) })
        .from(agents)
        .where(isNull(agents.retiredAt))
      return row ?? { total: 0, active: 0 }
    },

    jobCounts: () => read.select({ status: jobs.status, count: count() }).from(jobs).groupBy(jobs.status),

    async deadNotifications(): Promise<number> {
      const [row] = await read.select({ n: count() }).from(notifications).where(eq(notifications.status, "dead"))
      return row?.n ?? 0
    },

    expirations(from: Date, until: Date): Promise<DayCount[]> {
      const { status, expiresAt } = certificates
      const day = dayOf(expiresAt)
      return read
        .select({ day, count: count() })
        .from(certificates)
        .where(and(within(expiresAt, from, until), notInArray(status, ["Revoked", "Archived"])))
        .groupBy(day)
    },

    creations(from: Date, until: Date): Promise<DayCount[]> {
      const day = dayOf(certificates.createdAt)
      return read
        .select({ day, count: count() })
        .from(certificates)
        .where(within(certificates.createdAt, from, until))
        .groupBy(day)
    },

    finishedJobs(from: Date, until: Date) {
      const day = dayOf(jobs.completedAt)
      return read
        .select({
          day,
          completed: countIf(eq(jobs.status, "Completed")),
          failed: countIf(eq(jobs.status, "Failed")),
        })
        .from(jobs)
        .where(
          and(
            isNotNull(jobs.completedAt),
            within(jobs.completedAt, from, until),
            inArray(jobs.status, ["Completed", "Failed"]),
          ),
        )
        .groupBy(day)
    },
  }
}

export type StatsStore = ReturnType<typeof statsStore>
