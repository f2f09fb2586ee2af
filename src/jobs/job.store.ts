/** SQL of jobs. Every change of state is compare-and-set on the state it starts from. */
import { and, asc, count, desc, eq, inArray, isNotNull, isNull, lt, lte, ne, or, type SQL, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { forUpdate } from "../db/locking"
import type { Tables } from "../db/tables/tables"
import { issuingTypes, type JobStatus, type JobType, openStatuses } from "./job.machine"

export type JobRow = Tables["jobs"]["$inferSelect"]
export type NewJob = Tables["jobs"]["$inferInsert"]

export interface JobFilter {
  /** Neither done nor given up. */
  isOpen?: boolean
  status?: JobStatus
  type?: JobType
  certificateId?: string
  targetId?: string
  agentId?: string
}

export const jobStore = ({ t, read }: Db) => {
  const filterOf = (filter: JobFilter): SQL | undefined =>
    and(
      filter.status === undefined ? undefined : eq(t.jobs.status, filter.status),
      filter.isOpen === true ? inArray(t.jobs.status, [...openStatuses]) : undefined,
      filter.type === undefined ? undefined : eq(t.jobs.type, filter.type),
      filter.certificateId === undefined ? undefined : eq(t.jobs.certificateId, filter.certificateId),
      filter.targetId === undefined ? undefined : eq(t.jobs.targetId, filter.targetId),
      filter.agentId === undefined ? undefined : eq(t.jobs.agentId, filter.agentId),
    )
  const first = async (query: Query | Tx, where: SQL | undefined): Promise<JobRow | null> =>
    (await query.select().from(t.jobs).where(where).limit(1))[0] ?? null

  const isLive = or(
    inArray(t.jobs.status, [...openStatuses]),
    and(eq(t.jobs.status, "Failed"), lt(t.jobs.attempts, t.jobs.maxAttempts)),
  )

  return {
    get: (id: string, query: Query | Tx = read) => first(query, eq(t.jobs.id, id)),

    /** Newest first. */
    list: (filter: JobFilter, limit: number, offset: number) =>
      read
        .select()
        .from(t.jobs)
        .where(filterOf(filter))
        .orderBy(desc(t.jobs.createdAt), desc(t.jobs.id))
        .limit(limit)
        .offset(offset),

    async total(filter: JobFilter): Promise<number> {
      const [row] = await read.select({ n: count() }).from(t.jobs).where(filterOf(filter))
      return row?.n ?? 0
    },

    /** null when an open Issuance or Renewal job of the same certificate and agent is in the way. */
    async insert(tx: Tx, job: NewJob): Promise<JobRow | null> {
      return (await tx.insert(t.jobs).values(job).onConflictDoNothing().returning())[0] ?? null
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
      const changed = await tx
        .update(t.jobs)
        .set(set)
        .where(
          and(
            eq(t.jobs.id, id),
            eq(t.jobs.status, status),
            eq(t.jobs.attempts, attempts),
            onlyUnheld ? isNull(t.jobs.hold) : undefined,
          ),
        )
        .returning()
      return changed[0] ?? null
    },

    /** Reads the job and holds it until the transaction ends. Its certificate is locked first. */
    async lock(tx: Tx, id: string): Promise<JobRow | null> {
      return (await forUpdate(tx.select().from(t.jobs).where(eq(t.jobs.id, id))))[0] ?? null
    },

    /** Facts beside the state, such as a verification. */
    async patch(tx: Tx, id: string, set: Partial<Omit<NewJob, "status">>): Promise<void> {
      await tx.update(t.jobs).set(set).where(eq(t.jobs.id, id))
    },

    openOfCertificate: (tx: Tx | Query, certificateId: string) =>
      tx
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.certificateId, certificateId), inArray(t.jobs.status, [...openStatuses])))
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id)),

    /** Open jobs of a certificate, and those that failed and will be retried. */
    liveOfCertificate: (tx: Tx | Query, certificateId: string) =>
      tx
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.certificateId, certificateId), isLive))
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id)),

    openOfAgent: (tx: Tx | Query, agentId: string) =>
      tx
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.agentId, agentId), inArray(t.jobs.status, [...openStatuses]))),

    /** Open issuing jobs of a certificate, and those that failed and will be retried. */
    liveIssuing: (tx: Tx | Query, certificateId: string) =>
      tx
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.certificateId, certificateId), inArray(t.jobs.type, [...issuingTypes]), isLive))
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id)),

    /** The job that waits for a CSR of this agent; else the one that waits for any. */
    async awaitingCsr(tx: Tx | Query, certificateId: string, agentId: string): Promise<JobRow | null> {
      const rows = await tx
        .select()
        .from(t.jobs)
        .where(
          and(
            eq(t.jobs.certificateId, certificateId),
            inArray(t.jobs.type, [...issuingTypes]),
            eq(t.jobs.status, "AwaitingCSR"),
            or(eq(t.jobs.agentId, agentId), isNull(t.jobs.agentId)),
          ),
        )
        .limit(2)
      return rows.find((job) => job.agentId === agentId) ?? rows[0] ?? null
    },

    /** An issuing job whose CSR is with the CA at this moment. */
    runningWithCsr: (certificateId: string, agentId: string) =>
      first(
        read,
        and(
          eq(t.jobs.certificateId, certificateId),
          eq(t.jobs.agentId, agentId),
          inArray(t.jobs.type, [...issuingTypes]),
          eq(t.jobs.status, "Running"),
          isNotNull(t.jobs.csrPem),
        ),
      ),

    ofRollout: (tx: Tx, rolloutId: string) =>
      tx.select().from(t.jobs).where(eq(t.jobs.rolloutId, rolloutId)).orderBy(asc(t.jobs.createdAt), asc(t.jobs.id)),

    /** Deployments that the agent may be handed now, oldest first. */
    claimableDeployments: (query: Tx | Query, agentId: string, now: Date, limit: number) =>
      query
        .select()
        .from(t.jobs)
        .where(
          and(
            or(
              eq(t.jobs.agentId, agentId),
              and(
                isNull(t.jobs.agentId),
                sql`exists (select 1 from deployment_targets d where d.id = ${t.jobs.targetId} and d.agent_id = ${agentId})`,
              ),
            ),
            isNotNull(t.jobs.targetId),
            eq(t.jobs.status, "Pending"),
            eq(t.jobs.type, "Deployment"),
            isNull(t.jobs.hold),
            lte(t.jobs.scheduledAt, now),
          ),
        )
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id))
        .limit(limit),

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
            eq(t.jobs.type, "Deployment"),
            ne(t.jobs.status, "Cancelled"),
            sql`(${t.jobs.createdAt}, ${t.jobs.id}) > (${sql.param(job.createdAt, t.jobs.createdAt)}, ${job.id})`,
          ),
        )
        .limit(1)
      return rows.length > 0
    },

    runningDeployments: (query: Tx | Query, agentId: string) =>
      query
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.agentId, agentId), eq(t.jobs.status, "Running"), eq(t.jobs.type, "Deployment")))
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id)),

    /** CSR jobs offered to the agent: its own, and those of nobody whose certificate goes to one of its targets. */
    offeredCsrJobs: (query: Tx | Query, agentId: string, limit: number) =>
      query
        .select({
          job: t.jobs,
          commonName: t.certificates.commonName,
          sans: t.certificates.sans,
        })
        .from(t.jobs)
        .innerJoin(t.certificates, eq(t.certificates.id, t.jobs.certificateId))
        .where(
          and(
            inArray(t.jobs.type, [...issuingTypes]),
            eq(t.jobs.status, "AwaitingCSR"),
            or(
              eq(t.jobs.agentId, agentId),
              and(
                isNull(t.jobs.agentId),
                sql`exists (select 1 from certificate_target_mappings m join deployment_targets d on d.id = m.target_id
                  where m.certificate_id = ${t.jobs.certificateId} and d.agent_id = ${agentId} and d.retired_at is null and d.enabled)`,
              ),
            ),
          ),
        )
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id))
        .limit(limit),

    /** What the job processor may claim: issuing work, and deployments whose target is gone. */
    claimable: (now: Date, limit: number) =>
      read
        .select()
        .from(t.jobs)
        .where(
          and(
            eq(t.jobs.status, "Pending"),
            lte(t.jobs.scheduledAt, now),
            or(inArray(t.jobs.type, [...issuingTypes]), and(eq(t.jobs.type, "Deployment"), isNull(t.jobs.targetId))),
          ),
        )
        .orderBy(asc(t.jobs.createdAt), asc(t.jobs.id))
        .limit(limit),

    /** Issuing jobs whose server died, or whose order is due to be asked about. */
    lapsed: (now: Date, limit: number) =>
      read
        .select()
        .from(t.jobs)
        .where(
          and(
            eq(t.jobs.status, "Running"),
            inArray(t.jobs.type, [...issuingTypes]),
            lt(t.jobs.leaseUntil, now),
            or(isNull(t.jobs.nextPollAt), lte(t.jobs.nextPollAt, now)),
          ),
        )
        .orderBy(asc(t.jobs.leaseUntil), asc(t.jobs.id))
        .limit(limit),

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

    /** Failed jobs with attempts left, of certificates that are still managed; the policy's pause is the caller's. */
    retryable: (limit: number, after: { completedAt: Date; id: string } | null) =>
      read
        .select({
          job: t.jobs,
          retryIntervalSeconds: t.renewalPolicies.retryIntervalSeconds,
        })
        .from(t.jobs)
        .innerJoin(t.certificates, eq(t.certificates.id, t.jobs.certificateId))
        .innerJoin(t.renewalPolicies, eq(t.renewalPolicies.id, t.certificates.renewalPolicyId))
        .where(
          and(
            eq(t.jobs.status, "Failed"),
            lt(t.jobs.attempts, t.jobs.maxAttempts),
            sql`${t.certificates.status} not in ('Revoked', 'Archived')`,
            after === null
              ? undefined
              : sql`(${t.jobs.completedAt}, ${t.jobs.id}) > (${sql.param(after.completedAt, t.jobs.completedAt)}, ${after.id})`,
          ),
        )
        .orderBy(asc(t.jobs.completedAt), asc(t.jobs.id))
        .limit(limit),

    inStatusSince: (status: JobStatus, cutoff: Date, limit: number) =>
      read
        .select()
        .from(t.jobs)
        .where(and(eq(t.jobs.status, status), lt(t.jobs.statusSince, cutoff)))
        .orderBy(asc(t.jobs.statusSince), asc(t.jobs.id))
        .limit(limit),

    ordersOlderThan: (cutoff: Date, limit: number) =>
      read
        .select()
        .from(t.jobs)
        .where(
          and(
            eq(t.jobs.status, "Running"),
            inArray(t.jobs.type, [...issuingTypes]),
            isNotNull(t.jobs.orderId),
            lt(t.jobs.statusSince, cutoff),
          ),
        )
        .limit(limit),

    /** Deployments handed to agents that have not been heard of since. */
    deploymentsOfSilentAgents: (silentSince: Date, limit: number) =>
      read
        .select({ job: t.jobs, lastHeartbeatAt: t.agents.lastHeartbeatAt, retiredAt: t.agents.retiredAt })
        .from(t.jobs)
        .innerJoin(t.agents, eq(t.agents.id, t.jobs.agentId))
        .where(
          and(
            eq(t.jobs.status, "Running"),
            eq(t.jobs.type, "Deployment"),
            or(lt(t.agents.lastHeartbeatAt, silentSince), isNotNull(t.agents.retiredAt)),
          ),
        )
        .limit(limit),

    /** Issuing jobs that ended for good without a certificate since the given moment, newest first. */
    failedRunsSince: (query: Tx | Query, certificateId: string, agentId: string | null, since: Date) =>
      query
        .select({ completedAt: t.jobs.completedAt })
        .from(t.jobs)
        .where(
          and(
            eq(t.jobs.certificateId, certificateId),
            agentId === null ? undefined : or(eq(t.jobs.agentId, agentId), isNull(t.jobs.agentId)),
            inArray(t.jobs.type, [...issuingTypes]),
            eq(t.jobs.status, "Failed"),
            sql`${t.jobs.attempts} >= ${t.jobs.maxAttempts}`,
            sql`${t.jobs.completedAt} > ${sql.param(since, t.jobs.completedAt)}`,
          ),
        )
        .orderBy(desc(t.jobs.completedAt))
        .limit(20),
  }
}

export type JobStore = ReturnType<typeof jobStore>
