/**
 * SQL of what waits to be done: for the loops, and for agents that ask. Most jobs are over, so that each of these reads an index of
 * those that are not; the words of a condition are those of its index.
 */
import { and, asc, eq, inArray, isNotNull, isNull, lt, lte, min, or, type SQL, sql } from "drizzle-orm"
import type { Db, Query, Tx } from "../db/db"
import { hot } from "../db/hot"
import { inPassing, unindexed } from "../db/unindexed"
import type { JobType } from "./job.machine"

/** Whether there are open jobs of an agent, and of nobody. */
export interface OpenWork {
  readonly ofAgent: boolean
  readonly ofNobody: boolean
}

export const waitingWorkStore = ({ t, read }: Pick<Db, "t" | "read">) => {
  const { jobs, certificates, certificateProfiles } = t
  const [type, status] = [unindexed(jobs.type), unindexed(jobs.status)]
  const isIssuing = sql`${type} in ('Issuance', 'Renewal')`
  const isRunningIssuing = sql`${status} = 'Running' and ${type} in ('Issuance', 'Renewal')`
  const isOpen = sql`${status} in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running')`
  const oldestFirst = [asc(jobs.createdAt), asc(jobs.id)] as const

  /** The oldest of both. They are read apart, each in the order of an index: an agent may have thousands of either. */
  const oldest = <R>(rows: readonly R[], jobOf: (row: R) => { createdAt: Date; id: string }, limit: number): R[] =>
    rows
      .toSorted((left, right) => {
        const [a, b] = [jobOf(left), jobOf(right)]
        return a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1)
      })
      .slice(0, limit)

  // Thousands of agents ask every half minute: building a query takes ten times as long as running it.
  const openWorkOf = hot("open_work", (query: Query) => {
    // Apart: for both at once SQLite reads the open jobs of all agents.
    const isThere = (whose: SQL) => {
      const some = query
        .select({ id: jobs.id })
        .from(jobs)
        .where(and(whose, isOpen, inArray(jobs.status, ["Pending", "AwaitingCSR", "Running"])))
      return sql<boolean>`exists ${some}`.mapWith(Boolean)
    }
    return query
      .select({
        ofAgent: isThere(eq(jobs.agentId, sql.placeholder("agentId"))),
        ofNobody: isThere(isNull(jobs.agentId)),
      })
      .from(sql`(select 1) as one`)
  })

  // With every poll that finds something, and each report of a deployment.
  const ofAgent = eq(jobs.agentId, sql.placeholder("agentId"))
  const claimable = (whose: SQL | undefined) => (query: Query) =>
    query
      .select()
      .from(jobs)
      .where(
        and(
          whose,
          isOpen,
          eq(jobs.status, "Pending"),
          sql`${type} = 'Deployment'`,
          isNotNull(jobs.targetId),
          isNull(jobs.hold),
          // The index of these times knows nothing of agents.
          inPassing(sql`${jobs.scheduledAt} <= ${sql.param(sql.placeholder("now"), jobs.scheduledAt)}`),
        ),
      )
      .orderBy(...oldestFirst)
      .limit(sql.placeholder("limit"))
  const claimableOwn = hot("claimable_deployments_of_agent", claimable(ofAgent))
  const claimableOrphans = hot(
    "claimable_deployments_of_nobody",
    claimable(
      and(
        isNull(jobs.agentId),
        sql`exists (select 1 from deployment_targets d where d.id = ${jobs.targetId} and d.agent_id = ${sql.placeholder("agentId")})`,
      ),
    ),
  )
  const checksOfAgent = hot("claimable_checks_of_agent", (query: Query) =>
    query
      .select()
      .from(jobs)
      .where(and(ofAgent, isOpen, eq(jobs.status, "Pending"), sql`${type} = 'Validation'`, isNotNull(jobs.targetId)))
      .orderBy(...oldestFirst)
      .limit(sql.placeholder("limit")),
  )
  const offered = (whose: SQL | undefined) => (query: Query) =>
    query
      .select({
        job: jobs,
        commonName: certificates.commonName,
        sans: certificates.sans,
        keyRules: certificateProfiles.allowedKeyAlgorithms,
      })
      .from(jobs)
      .innerJoin(certificates, eq(certificates.id, jobs.certificateId))
      .leftJoin(certificateProfiles, eq(certificateProfiles.id, certificates.certificateProfileId))
      .where(and(whose, isOpen, eq(jobs.status, "AwaitingCSR"), isIssuing))
      .orderBy(...oldestFirst)
      .limit(sql.placeholder("limit"))
  const offeredOwn = hot("csr_jobs_of_agent", offered(ofAgent))
  const offeredUnclaimed = hot(
    "csr_jobs_of_nobody",
    offered(
      and(
        isNull(jobs.agentId),
        sql`exists (select 1 from certificate_target_mappings m join deployment_targets d on d.id = m.target_id
          where m.certificate_id = ${jobs.certificateId} and d.agent_id = ${sql.placeholder("agentId")}
            and d.retired_at is null and d.enabled)`,
      ),
    ),
  )

  return {
    /** Whether there may be something for the agent: open jobs of its own, or of nobody. */
    async openWork(query: Query, agentId: string): Promise<OpenWork> {
      const [found] = await openWorkOf(query, { agentId })
      return found ?? { ofAgent: false, ofNobody: false }
    },

    /** Deployments that the agent may be handed now, oldest first. `open`: what `openWork` has answered. */
    async claimableDeployments(query: Tx | Query, agentId: string, open: OpenWork, now: Date, limit: number) {
      const own = open.ofAgent ? await claimableOwn(query, { agentId, now, limit }) : []
      const orphaned = open.ofNobody ? await claimableOrphans(query, { agentId, now, limit }) : []
      return oldest([...own, ...orphaned], (job) => job, limit)
    },

    /** Checks of targets that the agent is to run, oldest first. */
    claimableChecks: (query: Tx | Query, agentId: string, limit: number) => checksOfAgent(query, { agentId, limit }),

    /** Checks that nobody waits for any more. */
    staleChecks: (begunBefore: Date, limit: number) =>
      read
        .select()
        .from(jobs)
        .where(
          and(eq(jobs.type, "Validation"), lt(jobs.createdAt, begunBefore), sql`${status} in ('Pending', 'Running')`),
        )
        .limit(limit),

    /** CSR jobs offered to the agent: its own, and those of nobody whose certificate goes to one of its targets. */
    async offeredCsrJobs(query: Tx | Query, agentId: string, open: OpenWork, limit: number) {
      const own = open.ofAgent ? await offeredOwn(query, { agentId, limit }) : []
      const unclaimed = open.ofNobody ? await offeredUnclaimed(query, { agentId, limit }) : []
      return oldest([...own, ...unclaimed], ({ job }) => job, limit)
    },

    /** What the job processor may claim: issuing work, and deployments whose target is gone. */
    claimable: (now: Date, limit: number) =>
      read
        .select()
        .from(jobs)
        .where(
          and(
            sql`${status} = 'Pending' and (${type} in ('Issuance', 'Renewal') or (${type} = 'Deployment' and ${jobs.targetId} is null))`,
            lte(jobs.scheduledAt, now),
          ),
        )
        .orderBy(...oldestFirst)
        .limit(limit),

    /** Issuing jobs whose server died, or whose order is due to be asked about. */
    lapsed: (now: Date, limit: number) =>
      read
        .select()
        .from(jobs)
        .where(and(isRunningIssuing, lt(jobs.leaseUntil, now), or(isNull(jobs.nextPollAt), lte(jobs.nextPollAt, now))))
        .orderBy(asc(jobs.leaseUntil), asc(jobs.id))
        .limit(limit),

    /**
     * Failed jobs of a type with attempts left, of certificates that are still managed, which failed at that moment or before; longest
     * first. The policy's pause is the caller's.
     */
    retryable: (ofType: JobType, failedBy: Date, limit: number, after: { completedAt: Date; id: string } | null) =>
      read
        .select({
          job: jobs,
          retryIntervalSeconds: t.renewalPolicies.retryIntervalSeconds,
          issuerId: certificates.issuerId,
        })
        .from(jobs)
        .innerJoin(certificates, eq(certificates.id, jobs.certificateId))
        .innerJoin(t.renewalPolicies, eq(t.renewalPolicies.id, certificates.renewalPolicyId))
        .where(
          and(
            sql`${status} = 'Failed' and ${jobs.attempts} < ${jobs.maxAttempts}`,
            eq(jobs.type, ofType),
            lte(jobs.completedAt, failedBy),
            sql`${unindexed(certificates.status)} not in ('Revoked', 'Archived')`,
            after === null
              ? undefined
              : sql`(${jobs.completedAt}, ${jobs.id}) > (${sql.param(after.completedAt, jobs.completedAt)}, ${after.id})`,
          ),
        )
        .orderBy(asc(jobs.completedAt), asc(jobs.id))
        .limit(limit),

    /** The shortest pause that any policy leaves between two attempts, in seconds. */
    async shortestRetryInterval(): Promise<number> {
      const [row] = await read.select({ seconds: min(t.renewalPolicies.retryIntervalSeconds) }).from(t.renewalPolicies)
      return row?.seconds ?? 0
    },

    /** Jobs that have waited in this status since before the cutoff, longest first. */
    waitingSince: (waitsIn: "AwaitingCSR" | "AwaitingApproval", cutoff: Date, limit: number) =>
      read
        .select()
        .from(jobs)
        .where(
          and(
            sql`${status} in ('AwaitingCSR', 'AwaitingApproval')`,
            eq(jobs.status, waitsIn),
            lt(jobs.statusSince, cutoff),
          ),
        )
        .orderBy(asc(jobs.statusSince), asc(jobs.id))
        .limit(limit),

    /** Deployments that are held back by a reason that begins so, oldest first. */
    heldBy: (reason: string, after: { createdAt: Date; id: string } | null, limit: number) =>
      read
        .select()
        .from(jobs)
        .where(
          and(
            sql`${status} = 'Pending' and ${jobs.hold} is not null`,
            sql`substr(${jobs.hold}, 1, ${reason.length}) = ${reason}`,
            after === null
              ? undefined
              : sql`(${jobs.createdAt}, ${jobs.id}) > (${sql.param(after.createdAt, jobs.createdAt)}, ${after.id})`,
          ),
        )
        .orderBy(...oldestFirst)
        .limit(limit),

    ordersOlderThan: (cutoff: Date, limit: number) =>
      read
        .select()
        .from(jobs)
        .where(and(isRunningIssuing, isNotNull(jobs.orderId), lt(jobs.statusSince, cutoff)))
        .limit(limit),

    /** Deployments handed to agents that have not been heard of since. */
    deploymentsOfSilentAgents: (silentSince: Date, limit: number) =>
      read
        .select({ job: jobs, lastHeartbeatAt: t.agents.lastHeartbeatAt, retiredAt: t.agents.retiredAt })
        .from(jobs)
        .innerJoin(t.agents, eq(t.agents.id, jobs.agentId))
        .where(
          and(
            eq(jobs.status, "Running"),
            sql`${type} = 'Deployment'`,
            or(lt(t.agents.lastHeartbeatAt, silentSince), isNotNull(t.agents.retiredAt)),
          ),
        )
        .limit(limit),
  }
}
