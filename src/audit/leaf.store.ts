/** The sealed order of audit events. Rows are inserted and read, never changed. */
import { and, asc, count, desc, eq, gt, inArray, notExists, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
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

/** Rows per INSERT; three parameters each. */
const chunk = 1000

export const leafStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const lastLeaf = async (from: Query) => {
    const [row] = await from
      .select({ seq: t.auditLeaves.seq, timestamp: t.auditEvents.timestamp })
      .from(t.auditLeaves)
      .innerJoin(t.auditEvents, eq(t.auditEvents.id, t.auditLeaves.eventId))
      .orderBy(desc(t.auditLeaves.seq))
      .limit(1)
    return row ?? null
  }
  return {
    /** The newest leaf and the time of its event; null while there is none. */
    lastIn: (tx: Tx) => lastLeaf(tx),

    async lastSeq(): Promise<number> {
      const [row] = await read
        .select({ seq: t.auditLeaves.seq })
        .from(t.auditLeaves)
        .orderBy(desc(t.auditLeaves.seq))
        .limit(1)
      return row?.seq ?? 0
    },

    /** Events without a leaf, oldest first. `since` narrows the search to newer ones; null looks at all. */
    unsealedIn: (tx: Tx, since: Date | null, limit: number): Promise<AuditEvent[]> =>
      tx
        .select()
        .from(t.auditEvents)
        .where(
          and(
            since === null ? undefined : gt(t.auditEvents.timestamp, since),
            notExists(
              tx.select({ found: sql`1` }).from(t.auditLeaves).where(eq(t.auditLeaves.eventId, t.auditEvents.id)),
            ),
          ),
        )
        .orderBy(asc(t.auditEvents.timestamp), asc(t.auditEvents.id))
        .limit(limit),

    /** Events in the order of time, from after one on, and whether each has a leaf. */
    async eventsAfter(after: { timestamp: Date; id: string } | null, limit: number) {
      const { id, timestamp } = t.auditEvents
      const rows = await read
        .select({ id, timestamp, leafOf: t.auditLeaves.eventId })
        .from(t.auditEvents)
        .leftJoin(t.auditLeaves, eq(t.auditLeaves.eventId, id))
        .where(
          after === null
            ? undefined
            : sql`(${timestamp}, ${id}) > (${sql.param(after.timestamp, timestamp)}, ${after.id})`,
        )
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
      for (let from = 0; from < leaves.length; from += chunk) {
        await tx.insert(t.auditLeaves).values(leaves.slice(from, from + chunk))
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
