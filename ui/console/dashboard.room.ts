/** The dashboard: what needs somebody, then the numbers, each of which leads to the rows behind it. */
import { Hono } from "hono"
import { isRenewedByItsClient } from "../../src/certificates/certificate.machine"
import type { ApiEnv } from "../../src/server/operation"
import { type DashboardProps, dashboardPage } from "../pages/dashboard.page"
import type { AttentionItem } from "../parts/attention"
import { type ConsoleDeps, frameOf, page } from "./room"
import { jobRows } from "./rows"

type ExpiringCertificate = Extract<AttentionItem, { kind: "expired" }>["certificate"]

const dated = (row: { id: string; commonName: string; expiresAt: Date | null }): ExpiringCertificate[] =>
  row.expiresAt === null ? [] : [{ id: row.id, commonName: row.commonName, expiresAt: row.expiresAt }]

/** What somebody should look at; a certificate that is in trouble in several ways is named by the worst. */
const attentionOf = async ({ stats, inventory }: ConsoleDeps, notificationsDead: number): Promise<AttentionItem[]> => {
  const [{ failedRenewals, unattended, silentAgents }, alarms] = await Promise.all([
    stats.attention(),
    inventory.alarms(),
  ])
  const [attempts, lapsing] = await Promise.all([
    inventory.failedAttempts(failedRenewals.rows.map((row) => row.certificateId)),
    inventory.firstToLapse(silentAgents.rows.map((row) => row.agentId)),
  ])
  const attemptsOf = new Map(attempts.map((row) => [row.certificateId, row.attempts]))
  const named = new Set<string>()
  const unlessNamed = (id: string, items: readonly AttentionItem[]): readonly AttentionItem[] => {
    if (named.has(id)) return []
    named.add(id)
    return items
  }

  const failing = failedRenewals.rows.flatMap((row) => {
    const { certificateId: id, commonName, jobId } = row
    const lastError = row.lastError ?? "no reason was recorded"
    const [certificate] = dated({ id, commonName, expiresAt: row.expiresAt })
    const item: AttentionItem =
      certificate === undefined
        ? { kind: "issuance-failing", certificate: { id, commonName }, lastError, jobId }
        : { kind: "renewal-failing", certificate, failedAttempts: attemptsOf.get(id) ?? 1, lastError, jobId }
    return unlessNamed(id, [item])
  })
  const expired = alarms.expired.flatMap((row) => {
    const automatic = row.autoRenew && !isRenewedByItsClient(row.source)
    return unlessNamed(
      row.id,
      dated(row).map((certificate): AttentionItem => ({ kind: "expired", certificate, automatic })),
    )
  })
  const nobodys = unattended.rows.flatMap(({ certificateId: id, commonName, expiresAt, reason }) =>
    unlessNamed(
      id,
      dated({ id, commonName, expiresAt }).map(
        (certificate): AttentionItem => ({
          kind: "no-automation",
          certificate,
          reason: reason === "no_agent" ? "no-agent" : "approval",
        }),
      ),
    ),
  )
  const silent = silentAgents.rows.map(
    (row): AttentionItem => ({
      kind: "agent-silent",
      agent: { id: row.agentId, name: row.name },
      lastHeartbeatAt: row.lastHeartbeatAt,
      dependents: lapsing.flatMap((certificate) => (certificate.agentId === row.agentId ? dated(certificate) : [])),
      dependentCount: row.certificates,
    }),
  )
  const mismatches = alarms.mismatches.flatMap((row) =>
    dated(row).map(
      (certificate): AttentionItem => ({
        kind: "mismatch",
        certificate,
        target: { id: row.targetId, name: row.targetName },
        observedAt: row.observedAt,
      }),
    ),
  )
  const failedDeployments = alarms.failedDeployments.flatMap((row) =>
    dated(row).map(
      (certificate): AttentionItem => ({
        kind: "deployment-failed",
        certificate,
        target: { id: row.targetId, name: row.targetName },
        lastError: row.lastError ?? "no reason was recorded",
        jobId: row.jobId,
      }),
    ),
  )
  const degraded = alarms.degradedIssuers.flatMap(({ id, name, since, reason }): AttentionItem[] =>
    since === null ? [] : [{ kind: "issuer-degraded", issuer: { id, name }, since, reason: reason ?? "" }],
  )
  const { count, oldestAt, firstExpiresAt } = alarms.approvals
  return [
    ...degraded,
    ...failing,
    ...expired,
    ...nobodys,
    ...silent,
    ...mismatches,
    ...failedDeployments,
    ...(oldestAt === null ? [] : [{ kind: "approvals" as const, count, oldestAt, firstExpiresAt }]),
    ...(notificationsDead === 0 ? [] : [{ kind: "notifications-dead" as const, count: notificationsDead }]),
  ]
}

export const dashboardRoom = (deps: ConsoleDeps) => {
  const { stats, inventory, jobs, agents } = deps

  /** How far somebody has come who has no certificate yet. */
  const setup = async (): Promise<DashboardProps["setup"]> => {
    const [joined, targets] = await Promise.all([agents.list({}, { limit: 20, offset: 0 }), inventory.targetChoices()])
    const agent = joined.rows.find(({ id }) => !inventory.isBuiltIn(id))
    return { agent: agent === undefined ? null : { id: agent.id, name: agent.name }, targets: targets.length }
  }

  return new Hono<ApiEnv>().get("/", async (c) => {
    const summary = await stats.summary()
    const [frame, attention, byStatus, expirations, jobTrend, issuance, ahead, recent, proofs] = await Promise.all([
      frameOf(deps, c),
      attentionOf(deps, summary.notificationsDead),
      stats.certificatesByStatus(),
      stats.expirationTimeline(90),
      stats.jobTrends(30),
      stats.issuanceRate(30),
      inventory.ahead(5),
      jobs.list({}, { limit: 5, offset: 0 }),
      inventory.proofs(5),
    ])
    const countOf = (wanted: string) => byStatus.find(({ status }) => status === wanted)?.count ?? 0
    const { nextRenewal, expiringNext } = ahead
    return page(
      c,
      dashboardPage({
        frame,
        attention,
        nextRenewal:
          nextRenewal === null || nextRenewal.renewAt === null ? null : { ...nextRenewal, at: nextRenewal.renewAt },
        // Counted as the list that the cards lead to counts.
        summary: {
          ...summary,
          expiringCertificates: countOf("Expiring"),
          expiredCertificates: countOf("Expired"),
        },
        byStatus,
        expirations,
        jobTrend,
        issuance: issuance.map(({ date, count }) => ({ date, issued: count })),
        expiringNext: expiringNext.flatMap((row) =>
          dated(row).map((certificate) => ({
            ...certificate,
            status: row.status,
            owner: row.owner,
            renewal: row.renewal,
          })),
        ),
        proofs,
        setup: summary.totalCertificates === 0 ? await setup() : null,
        recentJobs: await jobRows(inventory, recent.rows),
      }),
    )
  })
}
