/** What somebody should look at, soonest expiry first: renewals that fail, certificates nobody renews, agents that went silent. */
import { and, countDistinct, eq, inArray, isNull, lt, min, notInArray, or, sql } from "drizzle-orm"
import type { Db } from "../db/db"
import { certificateStatuses } from "../db/tables/certificate.tables"
import { unindexed } from "../db/unindexed"

export interface Listed<Row> {
  readonly rows: Row[]
  /** All there are; `rows` may be fewer. */
  readonly total: number
}

export interface FailedRenewal {
  readonly certificateId: string
  readonly name: string
  readonly commonName: string
  /** null: nothing was ever issued. */
  readonly expiresAt: Date | null
  readonly jobId: string
  /** The agent whose version failed; null where no agent is involved. */
  readonly agentId: string | null
  readonly lastError: string | null
  readonly failedAt: Date | null
}

export interface UnattendedCertificate {
  readonly certificateId: string
  readonly name: string
  readonly commonName: string
  readonly expiresAt: Date | null
  /** `approval`: its policy renews only what somebody approves. `no_agent`: no agent serves it. */
  readonly reason: "approval" | "no_agent"
}

export interface SilentAgent {
  readonly agentId: string
  readonly name: string
  /** null: never heard of. */
  readonly lastHeartbeatAt: Date | null
  readonly certificates: number
  /** When the first of its certificates lapses. */
  readonly firstExpiresAt: Date | null
}

const managed = certificateStatuses.filter((status) => status !== "Revoked" && status !== "Archived")

/** Beside the first rows of a query the number of all, for which it is run once. */
const outOf = sql`count(*) over ()`.mapWith(Number)

const listed = <Row extends { total: number }>(rows: readonly Row[]): Listed<Omit<Row, "total">> => ({
  rows: rows.map(({ total: _, ...row }) => row),
  total: rows[0]?.total ?? 0,
})

/** Looks at every certificate that lapses soon and at every failure: not on the thread that answers requests. */
export const attentionStore = ({ t, scan }: Db) => {
  const { certificates, jobs, agents, deploymentTargets: targets, certificateTargets: mappings } = t
  // Nobody looks after what the demo inventory shows, and nobody is to be called for it.
  const isManaged = and(
    notInArray(certificates.status, ["Revoked", "Archived"]),
    sql`${certificates.tags} not like '%"demo":"true"%'`,
  )
  const soonestFirst = sql`${certificates.expiresAt} asc nulls last`

  /** The last word of the CA for this certificate and agent was a failure, and nothing newer is under way. */
  const lastRunFailed = and(
    isManaged,
    inArray(unindexed(jobs.type), ["Issuance", "Renewal"]),
    eq(jobs.status, "Failed"),
    sql`not exists (select 1 from jobs newer where newer.certificate_id = ${jobs.certificateId}
      and newer.type in ('Issuance', 'Renewal') and coalesce(newer.agent_id, '') = coalesce(${jobs.agentId}, '')
      and (newer.created_at, newer.id) > (${jobs.createdAt}, ${jobs.id}))`,
  )

  const isServed = sql`exists (select 1 from certificate_target_mappings m
    join deployment_targets d on d.id = m.target_id and d.enabled and d.retired_at is null
    join agents a on a.id = d.agent_id and a.retired_at is null
    where m.certificate_id = ${certificates.id})`

  return {
    async failedRenewals(limit: number): Promise<Listed<FailedRenewal>> {
      const rows = await scan
        .select({
          certificateId: certificates.id,
          name: certificates.name,
          commonName: certificates.commonName,
          expiresAt: certificates.expiresAt,
          jobId: jobs.id,
          agentId: jobs.agentId,
          lastError: jobs.lastError,
          failedAt: jobs.completedAt,
          total: outOf,
        })
        .from(jobs)
        .innerJoin(certificates, eq(certificates.id, jobs.certificateId))
        .where(lastRunFailed)
        .orderBy(soonestFirst, jobs.id)
        .limit(limit)
      return listed(rows)
    },

    /** Certificates that lapse before `before` and that nothing renews by itself. EST, SCEP and ACME clients renew their own. */
    async unattended(before: Date, needsAgent: boolean, limit: number): Promise<Listed<UnattendedCertificate>> {
      const { autoRenew, id: policyId } = t.renewalPolicies
      const nobody = needsAgent ? or(eq(autoRenew, false), sql`not ${isServed}`) : eq(autoRenew, false)
      const rows = await scan
        .select({
          certificateId: certificates.id,
          name: certificates.name,
          commonName: certificates.commonName,
          expiresAt: certificates.expiresAt,
          autoRenew,
          total: outOf,
        })
        .from(certificates)
        .innerJoin(t.renewalPolicies, eq(policyId, certificates.renewalPolicyId))
        .where(
          and(
            // Said the other way round, it would have no index.
            inArray(certificates.status, managed),
            isManaged,
            notInArray(certificates.source, ["EST", "SCEP", "ACME"]),
            lt(certificates.expiresAt, before),
            nobody,
          ),
        )
        .orderBy(soonestFirst, certificates.id)
        .limit(limit)
      const found = listed(rows)
      return {
        ...found,
        rows: found.rows.map(({ autoRenew, ...row }) => ({ ...row, reason: autoRenew ? "no_agent" : "approval" })),
      }
    },

    /** Agents not heard of since, as far as certificates depend on them. */
    async silentAgents(since: Date, limit: number): Promise<Listed<SilentAgent>> {
      const lastSign = sql`coalesce(${agents.lastHeartbeatAt}, ${agents.registeredAt})`
      const where = and(
        isNull(agents.retiredAt),
        sql`${lastSign} < ${sql.param(since, agents.registeredAt)}`,
        isManaged,
        sql`${targets.enabled}`,
        isNull(targets.retiredAt),
      )
      const firstExpiresAt = min(certificates.expiresAt)
      const rows = await scan
        .select({
          agentId: agents.id,
          name: agents.name,
          lastHeartbeatAt: agents.lastHeartbeatAt,
          certificates: countDistinct(certificates.id),
          firstExpiresAt,
          total: outOf,
        })
        .from(agents)
        .innerJoin(targets, eq(targets.agentId, agents.id))
        .innerJoin(mappings, eq(mappings.targetId, targets.id))
        .innerJoin(certificates, eq(certificates.id, mappings.certificateId))
        .where(where)
        .groupBy(agents.id, agents.name, agents.lastHeartbeatAt)
        .orderBy(sql`${firstExpiresAt} asc nulls last`, agents.id)
        .limit(limit)
      return listed(rows)
    },
  }
}

export type AttentionStore = ReturnType<typeof attentionStore>
