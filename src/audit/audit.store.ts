/** The audit trail's rows: inserted and read, never changed (triggers in both dialects refuse it). */
import { and, count, desc, eq, gte, lte, ne, type SQL, sql } from "drizzle-orm"
import type { Db, Tx } from "../db/db"

export interface AuditEvent {
  readonly id: string
  readonly actor: string
  readonly actorType: "User" | "System" | "Agent"
  readonly action: string
  readonly resourceType: string
  readonly resourceId: string
  readonly details: Record<string, unknown>
  readonly timestamp: Date
}

export interface AuditFilter {
  readonly actor?: string
  readonly actorType?: string
  readonly action?: string
  readonly resourceType?: string
  readonly resourceId?: string
  /** Both ends inclusive. */
  readonly from?: Date
  readonly to?: Date
  /** Leaves out the log of API calls and keeps what changed something. */
  readonly withoutApiCalls?: boolean
}

/** Rows per INSERT: eight parameters each, far below SQLite's 32,766. */
const chunk = 500

export const auditStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const conditions = (filter: AuditFilter): SQL | undefined => {
    const { actor, actorType, action, resourceType, resourceId, from, to, withoutApiCalls } = filter
    const known = (["User", "System", "Agent"] as const).find((type) => type === actorType)
    return and(
      actor === undefined ? undefined : eq(t.auditEvents.actor, actor),
      // An unknown type matches nothing; the column cannot hold it.
      actorType === undefined
        ? undefined
        : known === undefined
          ? eq(t.auditEvents.id, "")
          : eq(t.auditEvents.actorType, known),
      action === undefined ? undefined : eq(t.auditEvents.action, action),
      resourceType === undefined ? undefined : eq(t.auditEvents.resourceType, resourceType),
      resourceId === undefined ? undefined : eq(t.auditEvents.resourceId, resourceId),
      from === undefined ? undefined : gte(t.auditEvents.timestamp, from),
      to === undefined ? undefined : lte(t.auditEvents.timestamp, to),
      withoutApiCalls === true ? ne(t.auditEvents.resourceType, "api") : undefined,
    )
  }
  return {
    async insert(tx: Tx, events: readonly AuditEvent[]): Promise<void> {
      for (let from = 0; from < events.length; from += chunk) {
        await tx.insert(t.auditEvents).values(events.slice(from, from + chunk))
      }
    },
    list: (filter: AuditFilter, range: { limit: number; offset: number }): Promise<AuditEvent[]> =>
      read
        .select()
        .from(t.auditEvents)
        .where(conditions(filter))
        .orderBy(desc(t.auditEvents.timestamp), desc(t.auditEvents.id))
        .limit(range.limit)
        .offset(range.offset),
    /** Newest first, from after an event on. */
    listAfter: (
      filter: AuditFilter,
      after: Pick<AuditEvent, "timestamp" | "id"> | null,
      limit: number,
    ): Promise<AuditEvent[]> =>
      read
        .select()
        .from(t.auditEvents)
        .where(
          and(
            conditions(filter),
            after === null
              ? undefined
              : sql`(${t.auditEvents.timestamp}, ${t.auditEvents.id}) < (${sql.param(after.timestamp, t.auditEvents.timestamp)}, ${after.id})`,
          ),
        )
        .orderBy(desc(t.auditEvents.timestamp), desc(t.auditEvents.id))
        .limit(limit),
    async count(filter: AuditFilter): Promise<number> {
      const [row] = await read.select({ total: count() }).from(t.auditEvents).where(conditions(filter))
      return row?.total ?? 0
    },
    async find(id: string): Promise<AuditEvent | null> {
      const [row] = await read.select().from(t.auditEvents).where(eq(t.auditEvents.id, id))
      return row ?? null
    },
  }
}

export type AuditStore = ReturnType<typeof auditStore>
