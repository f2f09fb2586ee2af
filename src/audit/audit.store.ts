/** The audit trail's rows: inserted and read, never changed (triggers in both dialects refuse it). */
import { and, count, eq, gt, gte, lt, lte, type SQL, sql } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { hotInsertNew } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { rowCounts } from "../db/row-counts"
import { equalities } from "../db/unindexed"

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

export interface AuditFilter extends TextFilter {
  readonly actor?: string | undefined
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

export const auditStore = ({ t, read, scan, dialect }: Pick<Db, "t" | "read" | "scan" | "dialect">) => {
  const { id, timestamp, actor, action, resourceType, resourceId } = t.auditEvents
  const listed = listing({ id, time: timestamp, text: [id, actor, action, resourceType, resourceId] })
  const conditions = (filter: AuditFilter): SQL | undefined => {
    const { actor, actorType, action, resourceType, resourceId, from, to, withoutApiCalls } = filter
    const known = (["User", "System", "Agent"] as const).find((type) => type === actorType)
    return and(
      equalities(dialect, [
        [t.auditEvents.resourceId, resourceId],
        [t.auditEvents.actor, actor],
        [t.auditEvents.action, action],
        [t.auditEvents.resourceType, resourceType],
        [t.auditEvents.actorType, known],
      ]),
      // An unknown type matches nothing; the column cannot hold it.
      actorType === known ? undefined : eq(t.auditEvents.id, ""),
      from === undefined ? undefined : gte(t.auditEvents.timestamp, from),
      to === undefined ? undefined : lte(t.auditEvents.timestamp, to),
      // As the index has it: a parameter would not be seen to mean the same.
      withoutApiCalls === true ? sql`resource_type <> 'api'` : undefined,
      listed.matches(filter.search),
    )
  }
  const insertRows = hotInsertNew("insert_audit_events", t.auditEvents)
  const counts = rowCounts({ t, read })
  /** Text may be in any of millions of rows. */
  const readerFor = ({ search }: AuditFilter) => (listed.matches(search) === undefined ? read : scan)
  const countRows = async (where: SQL | undefined, query = read): Promise<number> => {
    const [row] = await query.select({ n: count() }).from(t.auditEvents).where(where)
    return row?.n ?? 0
  }
  const rangeOf = ({ from, to }: Pick<AuditFilter, "from" | "to">) => ({
    from: from ?? null,
    until: to === undefined ? null : new Date(to.getTime() + 1),
  })
  const countPiece =
    (filter: AuditFilter) =>
    (piece: { from: Date; until: Date }): Promise<number> =>
      countRows(and(conditions(filter), gte(timestamp, piece.from), lt(timestamp, piece.until)))
  /** By what is counted: no text, no single resource, and not an actor together with a time. */
  const countedTotal = ({ from, to, actor, ...filter }: AuditFilter): Promise<number> =>
    from === undefined && to === undefined
      ? counts.total("auditEvents", { ...filter, actor })
      : counts.within("auditDays", rangeOf({ from, to }), countPiece(filter), filter)
  /**
   * Of an actor in a time: counted by day where that is all that is asked and the actor is no agent; else events in it or, where these
   * are the smaller part, all but those before and after.
   */
  const datedTotal = async (filter: AuditFilter): Promise<number> => {
    const { from, to, ...undated } = filter
    const { actor, ...others } = undated
    const isOfActor = actor !== undefined && Object.values(others).every((value) => value === undefined)
    if (isOfActor && (await counts.total("auditEvents", { actor, actorType: "Agent" })) === 0) {
      return await counts.within("auditDaysOfActors", rangeOf(filter), countPiece({ actor }), { actor })
    }
    const ofAll = { ...undated, actor: undefined }
    const [inTime, ever] = await Promise.all([countedTotal({ ...ofAll, from, to }), countedTotal(ofAll)])
    if (inTime * 2 <= ever) return await countRows(conditions(filter), scan)
    const [all, before, after] = await Promise.all([
      countedTotal(undated),
      from === undefined ? 0 : countRows(and(conditions(undated), lt(timestamp, from)), scan),
      to === undefined ? 0 : countRows(and(conditions(undated), gt(timestamp, to)), scan),
    ])
    return all - before - after
  }
  return {
    /** Fails where one of the events exists. `beforeLast` is called with nothing but the last statement to come. */
    async insert(tx: Tx, events: readonly AuditEvent[], beforeLast?: () => void): Promise<void> {
      for (let from = 0; from < events.length; from += chunk) {
        if (from + chunk >= events.length) beforeLast?.()
        await insertRows(tx, events.slice(from, from + chunk))
      }
    },
    /** Newest first. */
    list: (filter: AuditFilter, slice: Slice): Promise<AuditEvent[]> =>
      listed.read(readerFor(filter).select().from(t.auditEvents), conditions(filter), slice),
    async count(filter: AuditFilter): Promise<number> {
      const { search, resourceId: ofResource, withoutApiCalls, ...counted } = filter
      const isDated = counted.from !== undefined || counted.to !== undefined
      const isCounted = listed.matches(search) === undefined && ofResource === undefined
      if (isCounted && (!isDated || counted.actor === undefined)) {
        const all = await countedTotal(counted)
        const hasCalls = withoutApiCalls === true && (counted.resourceType ?? "api") === "api"
        return hasCalls ? all - (await countedTotal({ ...counted, resourceType: "api" })) : all
      }
      if (isCounted && withoutApiCalls !== true) return await datedTotal(counted)
      return await countRows(conditions(filter), ofResource === undefined ? scan : readerFor(filter))
    },
    async find(id: string): Promise<AuditEvent | null> {
      const [row] = await read.select().from(t.auditEvents).where(eq(t.auditEvents.id, id))
      return row ?? null
    },
  }
}

export type AuditStore = ReturnType<typeof auditStore>
