/** SQL of approval requests. A decision is compare-and-set on `pending`: of two at the same moment one is refused. */
import { and, count, eq, ne, type SQL, sql, sum } from "drizzle-orm"
import type { Db, Tx } from "../db/db"
import { listing, type Slice, type TextFilter } from "../db/listing"
import type { Tables } from "../db/tables/tables"
import type { ApprovalState } from "./approval.machine"

export type ApprovalRow = Tables["approvalRequests"]["$inferSelect"]

export interface ApprovalFilter extends TextFilter {
  readonly state?: ApprovalState | undefined
  readonly certificateId?: string | undefined
  readonly requestedBy?: string | undefined
}

/** How a request was closed. */
export interface Closing {
  readonly state: Exclude<ApprovalState, "pending">
  readonly decidedBy: string
  readonly decidedAt: Date
  readonly decisionNote: string | null
}

export const approvalStore = ({ t, read, dialect }: Db) => {
  const requests = t.approvalRequests
  const listed = listing({
    id: requests.id,
    time: requests.createdAt,
    text: [requests.id, requests.certificateId, requests.requestedBy, requests.metadata],
  })
  const filterOf = ({ search, state, certificateId, requestedBy }: ApprovalFilter): SQL | undefined =>
    and(
      state === undefined ? undefined : eq(requests.state, state),
      certificateId === undefined ? undefined : eq(requests.certificateId, certificateId),
      requestedBy === undefined ? undefined : eq(requests.requestedBy, requestedBy),
      listed.matches(search),
    )
  const close = async (tx: Tx, which: SQL, closing: Closing): Promise<ApprovalRow | null> => {
    const closed = await tx
      .update(requests)
      .set({ ...closing, updatedAt: closing.decidedAt })
      .where(and(which, eq(requests.state, "pending")))
      .returning()
    return closed[0] ?? null
  }

  /** Milliseconds between asking and decision. */
  const waitedMs =
    dialect === "sqlite"
      ? sql`(${requests.decidedAt} - ${requests.createdAt})`
      : sql`(extract(epoch from (${requests.decidedAt} - ${requests.createdAt})) * 1000)`
  const wasWaitingFor = (bypass: string) =>
    and(ne(requests.state, "pending"), sql`coalesce(${requests.decidedBy}, '') <> ${bypass}`)

  return {
    /** Newest first. */
    list: (filter: ApprovalFilter, slice: Slice) => listed.read(read.select().from(requests), filterOf(filter), slice),

    async total(filter: ApprovalFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(requests).where(filterOf(filter))
      return row?.n ?? 0
    },

    async get(id: string): Promise<ApprovalRow | null> {
      return (await read.select().from(requests).where(eq(requests.id, id)))[0] ?? null
    },

    /** The one that waits for a decision about the job; null when the job does not wait or needs none. */
    async pendingOf(jobId: string): Promise<ApprovalRow | null> {
      const rows = await read
        .select()
        .from(requests)
        .where(and(eq(requests.jobId, jobId), eq(requests.state, "pending")))
      return rows[0] ?? null
    },

    async insert(tx: Tx, row: ApprovalRow): Promise<void> {
      await tx.insert(requests).values(row)
    },

    /** null when it is no longer pending. */
    close: (tx: Tx, id: string, closing: Closing) => close(tx, eq(requests.id, id), closing),

    /** null when the job has no pending request. */
    closeOfJob: (tx: Tx, jobId: string, closing: Closing) => close(tx, eq(requests.jobId, jobId), closing),

    /** Decisions so far. @param bypass who approves when nobody is asked */
    decisions(bypass: string) {
      const isBypassed = sql<boolean>`(coalesce(${requests.decidedBy}, '') = ${bypass})`.mapWith(Boolean)
      return read
        .select({ state: requests.state, profileId: requests.profileId, isBypassed, count: count() })
        .from(requests)
        .where(ne(requests.state, "pending"))
        .groupBy(requests.state, requests.profileId, sql`3`)
        .orderBy(requests.state, requests.profileId, sql`3`)
    },

    /** How long decided requests had waited: for each bound how many at most so long, and all together. */
    async ages(bypass: string, boundsSeconds: readonly number[]) {
      const atMost = (seconds: number) =>
        sql<number>`coalesce(sum(case when ${waitedMs} <= ${sql.raw(String(seconds * 1000))} then 1 else 0 end), 0)`.mapWith(
          Number,
        )
      const [row] = await read
        .select({
          count: count(),
          sumMs: sum(waitedMs).mapWith(Number),
          ...Object.fromEntries(boundsSeconds.map((seconds) => [`le${seconds}`, atMost(seconds)])),
        })
        .from(requests)
        .where(wasWaitingFor(bypass))
      const counted = row as Record<string, number | null> | undefined
      return {
        count: counted?.count ?? 0,
        sumSeconds: (counted?.sumMs ?? 0) / 1000,
        atMost: boundsSeconds.map((seconds) => counted?.[`le${seconds}`] ?? 0),
      }
    },
  }
}

export type ApprovalStore = ReturnType<typeof approvalStore>
