/** SQL of jobs. Every change of state is compare-and-set on the state it starts from. */
import { and, asc, count, eq, inArray, isNotNull, isNull, lt, or, type SQL, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { idList, inGiven } from "../db/given-ids"
import { hot, hotInsert, hotInsertIds, hotUpdate, hotUpdateCount } from "../db/hot"
import { listing, type Slice, type TextFilter } from "../db/listing"
import { forUpdate } from "../db/locking"
import { rowCounts } from "../db/row-counts"
import { storedRow } from "../db/stored-row"
import type { Tables } from "../db/tables/tables"
import { equalities, inPassing, unindexed } from "../db/unindexed"
import { updateEach } from "../db/update-each"
import { issuingTypes, type JobStatus, type JobType, openStatuses } from "./job.machine"
import { waitingWorkStore } from "./waiting-work.store"

export type JobRow = Tables["jobs"]["$inferSelect"]
export type NewJob = Tables["jobs"]["$inferInsert"]

/** Rows per INSERT: some thirty parameters each, below SQLite's 32,766. */
const insertChunk = 500

export interface JobFilter extends TextFilter {
  /** Neither done nor given up. */
  isOpen?: boolean
  status?: JobStatus
  type?: JobType
  certificateId?: string
  targetId?: string
  agentId?: string
}

export const jobStore = ({ t, read, scan, dialect }: Db) => {
  const { id, createdAt, certificateId, targetId, agentId, requestedBy, lastError } = t.jobs
  const listed = listing({ id, time: createdAt, text: [id, certificateId, targetId, agentId, requestedBy, lastError] })
  const counts = rowCounts({ t, read })
  const readerFor = ({ search }: JobFilter) => (listed.matches(search) === undefined ? read : scan)
  const filterOf = (filter: JobFilter): SQL | undefined =>
    and(
      equalities(dialect, [
        [t.jobs.certificateId, filter.certificateId],
        [t.jobs.targetId, filter.targetId],
        [t.jobs.agentId, filter.agentId],
        [t.jobs.status, filter.status],
        [t.jobs.type, filter.type],
      ]),
      filter.isOpen === true ? inArray(t.jobs.status, [...openStatuses]) : undefined,
      listed.matches(filter.search),
    )
  const first = async (query: Query | Tx, where: SQL | undefined): Promise<JobRow | null> =>
    (await query.select().from(t.jobs).where(where).limit(1))[0] ?? null

  const [anyType, anyStatus] = [unindexed(t.jobs.type), unindexed(t.jobs.status)]
  const isOpen = inPassing(inArray(anyStatus, [...openStatuses]))
  /** In the words of the index of an agent's open jobs. */
  const isAmongOpen = sql`${anyStatus} in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running')`
  const mayRetry = and(eq(anyStatus, "Failed"), lt(t.jobs.attempts, t.jobs.maxAttempts))
  const isLive = inPassing(or(inArray(anyStatus, [...openStatuses]), mayRetry))
  const isIssuing = inArray(anyType, [...issuingTypes])

  // A renewal asks each of these several times.
  const ofGiven = eq(t.jobs.certificateId, sql.placeholder("certificateId"))
  const jobsWhere = (query: Query | Tx, where: SQL | undefined) => query.select().from(t.jobs).where(where)
  const oldestFirst = [asc(t.jobs.createdAt), asc(t.jobs.id)] as const
  const byId = hot("job_by_id", (query: Query) => jobsWhere(query, eq(t.jobs.id, sql.placeholder("id"))))
  const lockedById = hot("lock_job", (tx: Tx) => forUpdate(jobsWhere(tx, eq(t.jobs.id, sql.placeholder("id")))))
  const openOf = hot("open_jobs_of_certificate", (query: Query) =>
    jobsWhere(query, and(ofGiven, isOpen)).orderBy(...oldestFirst),
  )
  const liveOf = hot("live_jobs_of_certificate", (query: Query) =>
    jobsWhere(query, and(ofGiven, isLive)).orderBy(...oldestFirst),
  )
  const liveOfGiven = hot(null, (query: Query) =>
    jobsWhere(query, and(inGiven(dialect, t.jobs.certificateId, "ids"), isLive)).orderBy(...oldestFirst),
  )
  const liveIssuingOfOne = hot("live_issuing_jobs_of_certificate", (query: Query) =>
    jobsWhere(query, and(ofGiven, isIssuing, isLive)).orderBy(...oldestFirst),
  )
  const ofRollout = hot("jobs_of_rollout", (query: Query) =>
    jobsWhere(query, eq(t.jobs.rolloutId, sql.placeholder("rolloutId"))).orderBy(...oldestFirst),
  )
  const ofRollouts = hot(null, (query: Query) =>
    query
      .select({
        id: t.jobs.id,
        rolloutId: t.jobs.rolloutId,
        type: t.jobs.type,
        status: t.jobs.status,
        agentId: t.jobs.agentId,
        targetId: t.jobs.targetId,
        attempts: t.jobs.attempts,
        maxAttempts: t.jobs.maxAttempts,
        verificationStatus: t.jobs.verificationStatus,
        completedAt: t.jobs.completedAt,
        lastError: t.jobs.lastError,
        wave: t.jobs.wave,
        hold: t.jobs.hold,
        ignoresWindows: t.jobs.ignoresWindows,
      })
      .from(t.jobs)
      .where(inGiven(dialect, t.jobs.rolloutId, "rolloutIds"))
      .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id)),
  )
  const runningDeploymentsOf = hot("running_deployments_of_agent", (query: Query) =>
    jobsWhere(
      query,
      and(
        eq(t.jobs.agentId, sql.placeholder("agentId")),
        isAmongOpen,
        eq(t.jobs.status, "Running"),
        sql`${anyType} = 'Deployment'`,
      ),
    ).orderBy(...oldestFirst),
  )

  const insertRows = hotInsert("insert_jobs", t.jobs)
  const insertAnsweringIds = hotInsertIds("insert_many_jobs", t.jobs, t.jobs.id)
  const asStored = storedRow(t.jobs)
  const isAsSeen = and(
    eq(t.jobs.id, sql.placeholder("id")),
    eq(t.jobs.status, sql.placeholder("status")),
    eq(t.jobs.attempts, sql.placeholder("attempts")),
  )
  const changeSeen = hotUpdate("change_job", t.jobs, isAsSeen)
  const changeAny = hotUpdateCount("patch_job", t.jobs, eq(t.jobs.id, sql.placeholder("id")), t.jobs.id)
  const changeEach = updateEach(t.jobs, {
    set: [
      "agentId",
      "status",
      "attempts",
      "lastError",
      "versionId",
      "hold",
      "statusSince",
      "leaseUntil",
      "leaseHolder",
      "completedAt",
    ],
    seen: ["status", "attempts"],
  })
  const changeUnheld = hotUpdate("change_unheld_job", t.jobs, and(isAsSeen, isNull(t.jobs.hold)))

  return {
    ...waitingWorkStore({ t, read }),

    get: async (id: string, query: Query | Tx = read): Promise<JobRow | null> => (await byId(query, { id }))[0] ?? null,

    /** Newest first. */
    list: (filter: JobFilter, slice: Slice) =>
      listed.read(readerFor(filter).select().from(t.jobs), filterOf(filter), slice),

    async total(filter: JobFilter): Promise<number> {
      const { search, isOpen, certificateId: ofCertificate, targetId: atTarget, ...counted } = filter
      const isRest = ofCertificate === undefined && atTarget === undefined && listed.matches(search) === undefined
      if (isRest && (isOpen !== true || counted.status === undefined)) {
        return await counts.total("jobs", isOpen === true ? { ...counted, status: openStatuses } : counted)
      }
      const [row] = await readerFor(filter).select({ n: count() }).from(t.jobs).where(filterOf(filter))
      return row?.n ?? 0
    },

    /** null when an open Issuance or Renewal job of the same certificate and agent is in the way. */
    async insert(tx: Tx, job: NewJob): Promise<JobRow | null> {
      return (await insertRows(tx, [job]))[0] ?? null
    },

    /** Returns those that were stored: not those that an open Issuance or Renewal job is in the way of. */
    async insertAll(tx: Tx, added: readonly NewJob[]): Promise<JobRow[]> {
      const stored: JobRow[] = []
      for (let from = 0; from < added.length; from += insertChunk) {
        const chunk = added.slice(from, from + insertChunk)
        const ids = new Set(await insertAnsweringIds(tx, chunk))
        for (const job of chunk) if (ids.has(job.id)) stored.push(asStored(job))
      }
      return stored
    },

    /**
     * null when the job is no longer as it was seen. Its attempts count too: every way round back to the same status uses
     * one up, so whoever still holds the job of an earlier round is refused.
     */
    async compareAndSet(
      tx: Tx,
      { id, status, attempts }: Pick<JobRow, "id" | "status" | "attempts">,
      set: Partial<NewJob>,
      { onlyUnheld = false }: { onlyUnheld?: boolean } = {},
    ): Promise<JobRow | null> {
      const change = onlyUnheld ? changeUnheld : changeSeen
      return (await change(tx, set, { id, status, attempts }))[0] ?? null
    },

    /** `compareAndSet` of several, each to values of its own; answers how many were as they were seen. */
    changeEach,

    /** Reads the job and holds it until the transaction ends. Its certificate is locked first. */
    async lock(tx: Tx, id: string): Promise<JobRow | null> {
      return (await lockedById(tx, { id }))[0] ?? null
    },

    /** Facts beside the state, such as a verification. */
    async patch(tx: Tx, id: string, set: Partial<Omit<NewJob, "status">>): Promise<void> {
      await changeAny(tx, set, { id })
    },

    openOfCertificate: (query: Tx | Query, certificateId: string): Promise<JobRow[]> =>
      openOf(query, { certificateId }),

    /** Open jobs of a certificate, and those that failed and will be retried. */
    liveOfCertificate: (query: Tx | Query, certificateId: string): Promise<JobRow[]> =>
      liveOf(query, { certificateId }),

    /** `liveOfCertificate` of several. */
    liveOfAll: (query: Tx | Query, certificateIds: readonly string[]): Promise<JobRow[]> =>
      liveOfGiven(query, { ids: idList(certificateIds) }),

    openOfAgent: (tx: Tx | Query, agentId: string) =>
      tx
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.agentId, agentId), isAmongOpen, inArray(t.jobs.status, [...openStatuses]))),

    /** Open issuing jobs of a certificate, and those that failed and will be retried. */
    liveIssuing: (query: Tx | Query, certificateId: string): Promise<JobRow[]> =>
      liveIssuingOfOne(query, { certificateId }),

    /** An issuing job whose CSR is with the CA at this moment. */
    runningWithCsr: (certificateId: string, agentId: string) =>
      first(
        read,
        and(
          eq(t.jobs.certificateId, certificateId),
          // An agent may have thousands of jobs.
          sql`${unindexed(t.jobs.agentId)} = ${agentId}`,
          isIssuing,
          sql`${anyStatus} = 'Running'`,
          isNotNull(t.jobs.csrPem),
        ),
      ),

    ofRollout: (tx: Tx, rolloutId: string): Promise<JobRow[]> => ofRollout(tx, { rolloutId }),

    /** As much of the jobs of roll-outs as tells how these go on, oldest first. */
    ofRollouts: (rolloutIds: readonly string[]) => ofRollouts(read, { rolloutIds: idList(rolloutIds) }),

    /** Whether a later deployment to the same target was asked for: putting the older one there would undo it. */
    async isSuperseded(tx: Tx, job: JobRow): Promise<boolean> {
      if (job.certificateId === null || job.targetId === null) return false
      const rows = await tx
        .select({ id: t.jobs.id })
        .from(t.jobs)
        .where(
          and(
            eq(t.jobs.certificateId, job.certificateId),
            eq(t.jobs.targetId, job.targetId),
            sql`${anyType} = 'Deployment' and ${anyStatus} <> 'Cancelled'`,
            sql`(${t.jobs.createdAt}, ${t.jobs.id}) > (${sql.param(job.createdAt, t.jobs.createdAt)}, ${job.id})`,
          ),
        )
        .limit(1)
      return rows.length > 0
    },

    runningDeployments: (query: Tx | Query, agentId: string): Promise<JobRow[]> =>
      runningDeploymentsOf(query, { agentId }),

    /** Ends the leases of a holder that has just started: what it held before its death is nobody's. */
    async dropLeases(tx: Tx, holder: string, now: Date): Promise<void> {
      await tx
        .update(t.jobs)
        .set({ leaseUntil: new Date(now.getTime() - 1) })
        .where(and(eq(t.jobs.leaseHolder, holder), eq(t.jobs.status, "Running")))
    },

    async extendLeases(tx: Tx, ids: readonly string[], holder: string, until: Date): Promise<void> {
      await tx
        .update(t.jobs)
        .set({ leaseUntil: until })
        .where(and(inArray(t.jobs.id, [...ids]), eq(t.jobs.leaseHolder, holder), eq(t.jobs.status, "Running")))
    },
  }
}

export type JobStore = ReturnType<typeof jobStore>
