/** SQL of watched endpoints and of what was seen there. */
import { and, count, desc, eq, type SQL } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"

export type HealthCheckRow = Tables["healthChecks"]["$inferSelect"]
export type NewHealthCheckRow = Tables["healthChecks"]["$inferInsert"]
export type HealthStatus = HealthCheckRow["status"]

export interface HealthCheckFilter extends TextFilter {
  readonly status?: HealthStatus
  readonly certificateId?: string
  readonly networkScanTargetId?: string
  readonly enabled?: boolean
}

export const healthCheckStore = ({ t, read }: Db) => {
  const { healthChecks: checks, healthHistory: history } = t

  const listed = listing({
    id: checks.id,
    time: checks.createdAt,
    text: [checks.id, checks.endpoint, checks.certSubject, checks.certIssuer, checks.failureReason],
  })

  const filterOf = (filter: HealthCheckFilter): SQL | undefined =>
    and(
      filter.status === undefined ? undefined : eq(checks.status, filter.status),
      filter.certificateId === undefined ? undefined : eq(checks.certificateId, filter.certificateId),
      filter.networkScanTargetId === undefined ? undefined : eq(checks.networkScanTargetId, filter.networkScanTargetId),
      filter.enabled === undefined ? undefined : eq(checks.enabled, filter.enabled),
      listed.matches(filter.search),
    )

  return {
    /** Newest first. */
    list: (filter: HealthCheckFilter, slice: Slice) => listed.read(read.select().from(checks), filterOf(filter), slice),

    async total(filter: HealthCheckFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(checks).where(filterOf(filter))
      return row?.n ?? 0
    },

    countByStatus: () => read.select({ status: checks.status, n: count() }).from(checks).groupBy(checks.status),

    async get(id: string): Promise<HealthCheckRow | null> {
      return (await read.select().from(checks).where(eq(checks.id, id)))[0] ?? null
    },

    async lock(tx: Tx, id: string): Promise<HealthCheckRow | null> {
      return (await forUpdate(tx.select().from(checks).where(eq(checks.id, id))))[0] ?? null
    },

    /** null when the id is taken, or the endpoint for the same certificate. */
    async insert(tx: Tx, row: NewHealthCheckRow): Promise<HealthCheckRow | null> {
      return (await tx.insert(checks).values(row).onConflictDoNothing().returning())[0] ?? null
    },

    /** null when there is no such check. Keys that are undefined keep their value. */
    async update(tx: Tx, id: string, set: Partial<NewHealthCheckRow>): Promise<HealthCheckRow | null> {
      return (await tx.update(checks).set(set).where(eq(checks.id, id)).returning())[0] ?? null
    },

    /** Whether there was one. Its history goes with it. */
    async remove(tx: Tx, id: string): Promise<boolean> {
      return (await tx.delete(checks).where(eq(checks.id, id)).returning({ id: checks.id })).length > 0
    },

    async addHistory(tx: Tx, row: Tables["healthHistory"]["$inferInsert"]): Promise<void> {
      await tx.insert(history).values(row)
    },

    /** Newest first. */
    history: (id: string, limit: number) =>
      read
        .select()
        .from(history)
        .where(eq(history.healthCheckId, id))
        .orderBy(desc(history.checkedAt), desc(history.id))
        .limit(limit),

    async hasCertificate(query: Query | Tx, id: string): Promise<boolean> {
      const rows = await query.select({ id: t.certificates.id }).from(t.certificates).where(eq(t.certificates.id, id))
      return rows.length > 0
    },

    async hasNetworkScanTarget(query: Query | Tx, id: string): Promise<boolean> {
      const { networkScanTargets: targets } = t
      return (await query.select({ id: targets.id }).from(targets).where(eq(targets.id, id))).length > 0
    },
  }
}

export type HealthCheckStore = ReturnType<typeof healthCheckStore>
export type HealthHistoryRow = Awaited<ReturnType<HealthCheckStore["history"]>>[number]
