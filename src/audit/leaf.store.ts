/** The sealed order of audit events. Rows are inserted and read, never changed. */
import { and, asc, count, desc, eq, gt, inArray, notExists, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot, hotInsertCount } from "../db/hot"
import type { AuditEvent } from "./audit.store"

export interface SealedEvent {
  /** From 1, without gaps. */
  readonly seq: number
  readonly event: AuditEvent
}

export interface Leaf {
  readonly seq: number
  readonly eventId: string
  /** Lower-case hex. */
  readonly leafHash: string
}

/** The newest leaf. */
export interface LastLeaf {
  readonly seq: number
  readonly eventId: string
  /** Of its event. */
  readonly timestamp: Date
}

/** In the order of events by their time. */
export interface PlaceInTime {
  readonly timestamp: Date
  /** Of an event; empty: before all of this moment. */
  readonly id: string
}

/** After `since`, and where there is an `until` not after it. */
export interface Period {
  readonly since: Date
  readonly until: Date | null
}

/** Rows per INSERT; three parameters each. SQLite, where a statement costs no way there and back, has those of `hotInsertCount` ready. */
const chunks = { postgres: 1000, sqlite: 50 } as const

export const leafStore = ({ t, read, dialect }: Pick<Db, "t" | "read" | "dialect">) => {
  const insertRows = hotInsertCount("insert_audit_leaves", t.auditLeaves, t.auditLeaves.seq)
  const rowid = sql`${t.auditEvents}.rowid`
  /**
   * SQLite has one writer: what was committed after the last leaf's event lies behind it, whatever its clock says. On PostgreSQL
   * transactions commit in another order than they write, and the period says how late one may come.
   */
  const unsealedIn = ({ last, period }: { last: LastLeaf; period: Period }) =>
    dialect === "sqlite"
      ? sql`${rowid} > (select e.rowid from ${t.auditEvents} e where e.id = ${last.eventId})`
      : sql`${t.auditEvents.id} = any(array(${perhapsUnsealed(period)}))`
  /**
   * Ids of the events of a period without those of the leaves that were made in it: nearly all of what is sealed, in half the time that
   * looking for the leaf of each event takes. Events of a clock that is ahead or behind have other leaves, and are left in.
   */
  const perhapsUnsealed = ({ since, until }: Period) => {
    const { timestamp } = t.auditEvents
    const newestAt = (
      moment: Date,
    ) => sql`coalesce((select l.seq from ${t.auditEvents} e join ${t.auditLeaves} l on l.event_id = e.id
      where e.timestamp <= ${sql.param(moment, timestamp)} order by e.timestamp desc, e.id desc limit 1), 0)`
    const events = sql`select e.id from ${t.auditEvents} e where e.timestamp > ${sql.param(since, timestamp)}`
    const made = sql`select l.event_id from ${t.auditLeaves} l where l.seq > ${newestAt(since)}`
    if (until === null) return sql`${events} except ${made}`
    return sql`${events} and e.timestamp <= ${sql.param(until, timestamp)} except ${made} and l.seq <= ${newestAt(until)}`
  }
  const inOrder = dialect === "sqlite" ? [asc(rowid)] : [asc(t.auditEvents.timestamp), asc(t.auditEvents.id)]
  // Not `not exists`, for which PostgreSQL would read and hash all leaves with each batch.
  const hasNoLeaf = sql`((select 1 from ${t.auditLeaves} where ${t.auditLeaves.eventId} = ${t.auditEvents.id} limit 1) is null)`
  const isAfter = (place: PlaceInTime | null) =>
    place === null
      ? undefined
      : sql`(${t.auditEvents.timestamp}, ${t.auditEvents.id}) > (${sql.param(place.timestamp, t.auditEvents.timestamp)}, ${place.id})`
  const lastLeaf = hot("last_audit_leaf", (query: Query) =>
    query
      .select({ seq: t.auditLeaves.seq, eventId: t.auditLeaves.eventId, timestamp: t.auditEvents.timestamp })
      .from(t.auditLeaves)
      .innerJoin(t.auditEvents, eq(t.auditEvents.id, t.auditLeaves.eventId))
      .orderBy(desc(t.auditLeaves.seq))
      .limit(1),
  )
  return {
    /** The newest leaf and the time of its event; null while there is none. */
    lastIn: async (tx: Tx): Promise<LastLeaf | null> => (await lastLeaf(tx))[0] ?? null,

    async lastSeq(): Promise<number> {
      const [row] = await read
        .select({ seq: t.auditLeaves.seq })
        .from(t.auditLeaves)
        .orderBy(desc(t.auditLeaves.seq))
        .limit(1)
      return row?.seq ?? 0
    },

    /** Events without a leaf, oldest first: behind the last leaf, or on PostgreSQL of the period. Without any leaf all are looked at. */
    unsealedIn: (tx: Tx, where: { last: LastLeaf; period: Period } | null, limit: number): Promise<AuditEvent[]> =>
      tx
        .select()
        .from(t.auditEvents)
        .where(and(where === null ? undefined : unsealedIn(where), hasNoLeaf))
        .orderBy(...inOrder)
        .limit(limit),

    /**
     * The oldest events after a place, and whether each has a leaf: for where most have none. PostgreSQL would look at all of them
     * before it finds the first without one.
     */
    nextIn: async (
      tx: Tx,
      after: PlaceInTime | null,
      limit: number,
    ): Promise<{ event: AuditEvent; isSealed: boolean }[]> => {
      const rows = await tx
        .select({ event: t.auditEvents, isSealed: sql`not ${hasNoLeaf}`.mapWith(Boolean) })
        .from(t.auditEvents)
        .where(isAfter(after))
        .orderBy(asc(t.auditEvents.timestamp), asc(t.auditEvents.id))
        .limit(limit)
      return rows as { event: AuditEvent; isSealed: boolean }[]
    },

    /** Events in the order of time, from after one on, and whether each has a leaf. */
    async eventsAfter(after: PlaceInTime | null, limit: number) {
      const { id, timestamp } = t.auditEvents
      const rows = await read
        .select({ id, timestamp, leafOf: t.auditLeaves.eventId })
        .from(t.auditEvents)
        .leftJoin(t.auditLeaves, eq(t.auditLeaves.eventId, id))
        .where(isAfter(after))
        .orderBy(asc(timestamp), asc(id))
        .limit(limit)
      return rows.map(({ leafOf, ...event }) => ({ ...event, isSealed: leafOf !== null }))
    },

    /** Those of the events that have no leaf, oldest first. */
    unsealedAmong: (tx: Tx, ids: readonly string[]): Promise<AuditEvent[]> =>
      tx
        .select()
        .from(t.auditEvents)
        .where(
          and(
            inArray(t.auditEvents.id, [...ids]),
            notExists(
              tx.select({ found: sql`1` }).from(t.auditLeaves).where(eq(t.auditLeaves.eventId, t.auditEvents.id)),
            ),
          ),
        )
        .orderBy(asc(t.auditEvents.timestamp), asc(t.auditEvents.id)),

    /** Fails as a whole when another process used one of the numbers. */
    async insert(tx: Tx, leaves: readonly Leaf[]): Promise<void> {
      const chunk = chunks[dialect]
      for (let from = 0; from < leaves.length; from += chunk) {
        const some = leaves.slice(from, from + chunk)
        if ((await insertRows(tx, some)) < some.length) throw new Error("a place in the sealed order is taken")
      }
    },

    /** Leaves in order with the event each is of; null where there is none any longer. */
    leavesAfter: (seq: number, limit: number): Promise<{ leaf: Leaf; event: AuditEvent | null }[]> =>
      read
        .select({ leaf: t.auditLeaves, event: t.auditEvents })
        .from(t.auditLeaves)
        .leftJoin(t.auditEvents, eq(t.auditEvents.id, t.auditLeaves.eventId))
        .where(gt(t.auditLeaves.seq, seq))
        .orderBy(asc(t.auditLeaves.seq))
        .limit(limit),

    async countEvents(): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.auditEvents)
      return row?.n ?? 0
    },

    sealedAfter: (seq: number, limit: number): Promise<SealedEvent[]> =>
      read
        .select({ seq: t.auditLeaves.seq, event: t.auditEvents })
        .from(t.auditLeaves)
        .innerJoin(t.auditEvents, eq(t.auditEvents.id, t.auditLeaves.eventId))
        .where(gt(t.auditLeaves.seq, seq))
        .orderBy(asc(t.auditLeaves.seq))
        .limit(limit),
  }
}

export type LeafStore = ReturnType<typeof leafStore>
