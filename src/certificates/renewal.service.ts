/** Opens issuing jobs: asked for by people, or by the renewal check when a certificate is due. */
import { type Actor, actorName, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { AppError } from "../errors"
import { isIssuing, mayRetry } from "../jobs/job.machine"
import type { JobRow, JobStore, NewJob } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import type { RolloutService } from "../rollouts/rollout.service"
import { isRenewedByItsClient, isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import type { LifecycleService } from "./lifecycle.service"
import { pauseAfterFailuresMs, statusByDate } from "./renewal-point"
import type { ServingStore } from "./serving.store"
import type { VersionRow, VersionStore } from "./version.store"

interface Deps {
  db: Pick<Db, "transaction">
  certificates: CertificateStore
  versions: VersionStore
  serving: ServingStore
  jobs: Pick<JobStore, "liveIssuing" | "failedRunsSince">
  queue: Pick<JobQueue, "create" | "move" | "endRetries">
  rollouts: Pick<RolloutService, "join" | "advance">
  lifecycle: Pick<LifecycleService, "moveTo" | "settle">
  news: Pick<CertificateNews, "checked">
  audit: Pick<AuditService, "append">
  clock: Clock
  keygenMode: "agent" | "server"
  onRowError: (certificateId: string, error: unknown) => void
}

const dayMs = 86_400_000
/** Attempts where the policy does not say. */
const defaultAttempts = 3
export const defaultPolicy = { autoRenew: true, alertThresholdsDays: [30, 14, 7, 0], maxRetries: defaultAttempts }
const waitsForTarget = "no agent serves this certificate yet: map a target, and its agent will take the job up"
const batchSize = 200

type Rules = Awaited<ReturnType<CertificateStore["rules"]>>

const attemptsOf = ({ policy }: Rules): number => Math.max(1, policy?.maxRetries ?? defaultAttempts)

export const renewalService = (deps: Deps) => {
  const { db, certificates, versions, serving, jobs, queue, rollouts, lifecycle, audit, clock, keygenMode } = deps

  /**
   * One job per agent that is to make a key; one without agent where nobody serves the certificate, where the server makes
   * the key, or where somebody has to approve first. All belong to one roll-out.
   */
  const openRun = async (
    tx: Tx,
    certificate: CertificateRow,
    rules: Rules,
    agentIds: readonly string[],
    options: { type: "Issuance" | "Renewal"; requestedBy: string; needsApproval: boolean },
  ): Promise<JobRow[]> => {
    const places = await serving.places(certificate.id, tx)
    const rollout = await rollouts.join(tx, certificate.id, places)
    const common: Pick<NewJob, "type" | "certificateId" | "maxAttempts" | "requestedBy" | "rolloutId"> = {
      type: options.type,
      certificateId: certificate.id,
      maxAttempts: attemptsOf(rules),
      requestedBy: options.requestedBy,
      rolloutId: rollout.id,
    }
    const wanted: Partial<NewJob>[] = options.needsApproval
      ? [{ status: "AwaitingApproval" }]
      : keygenMode === "server"
        ? [{ status: "Pending" }]
        : agentIds.length === 0
          ? [{ status: "AwaitingCSR", lastError: waitsForTarget }]
          : agentIds.map((agentId) => ({ agentId, status: "AwaitingCSR" as const }))
    const opened: JobRow[] = []
    for (const job of wanted) {
      const created = await queue.create(tx, { ...common, ...job })
      if (created !== null) opened.push(created)
    }
    await rollouts.advance(tx, rollout.id, places)
    return opened
  }

  /** Whether a job for this agent is open or will be retried; a job for nobody counts for everybody. */
  const isUnderWay = (live: readonly JobRow[], agentId: string | null): boolean =>
    live.some((job) => isIssuing(job.type) && (agentId === null || job.agentId === agentId || job.agentId === null))

  /** Looks at one certificate as the renewal check does. Returns the jobs it opened. */
  const checkOne = (id: string): Promise<JobRow[]> =>
    db.transaction(async (tx) => {
      const now = clock.now()
      let certificate = await certificates.lock(tx, id)
      if (certificate === null || isTerminal(certificate.status) || certificate.status === "Failed") return []
      const rules = await certificates.rules(tx, certificate)
      const policy = rules.policy ?? defaultPolicy
      const live = await jobs.liveIssuing(tx, id)
      const isRunning = live.some((job) => job.status !== "AwaitingApproval")
      if (certificate.status !== "RenewalInProgress" || !isRunning) {
        const byDate = statusByDate(certificate, policy, now)
        // A certificate that was imported as Pending is only ever moved by its expiry.
        if (certificate.status !== "Pending" || byDate !== "Active") {
          certificate = await lifecycle.moveTo(tx, certificate, byDate)
        }
      }
      await deps.news.checked(tx, certificate, rules.policy)
      if (isRenewedByItsClient(certificate.source) || certificate.tags.demo === "true") return []

      const agentIds = [...new Set((await serving.places(id, tx)).map((place) => place.agentId))]
      // Nobody to make the key: shown as such, and nothing is opened that could only wait.
      if (agentIds.length === 0 && keygenMode === "agent") return []
      const due = await dueAgents(tx, certificate, agentIds, live, now)
      if (due.length === 0) return []

      const needsApproval = !policy.autoRenew || rules.profile?.requiresApproval === true
      const opened = await openRun(
        tx,
        certificate,
        rules,
        due.flatMap((agentId) => agentId ?? []),
        {
          type: "Renewal",
          requestedBy: systemActor.name,
          needsApproval,
        },
      )
      for (const job of opened) {
        await audit.append(tx, {
          actor: systemActor,
          action: "renewal_job_created",
          resourceType: "certificate",
          resourceId: id,
          details: {
            job_id: job.id,
            agent_id: job.agentId,
            days_until_expiry:
              certificate.expiresAt === null ? null : (certificate.expiresAt.getTime() - now.getTime()) / dayMs,
            renewal_trigger: "threshold",
          },
        })
      }
      if (opened.length > 0 && !needsApproval) await lifecycle.moveTo(tx, certificate, "RenewalInProgress")
      return opened
    })

  /** Agents whose version is due and for whom nothing is under way; `null` stands for "whoever". */
  const dueAgents = async (
    tx: Tx,
    certificate: CertificateRow,
    agentIds: readonly string[],
    live: readonly JobRow[],
    now: Date,
  ): Promise<(string | null)[]> => {
    const isDue = (renewAt: Date | null) => renewAt !== null && renewAt <= now
    const mayStart = async (agentId: string | null, version: VersionRow | null): Promise<boolean> => {
      if (isUnderWay(live, agentId)) return false
      const since = version?.createdAt ?? certificate.createdAt
      const failures = await jobs.failedRunsSince(tx, certificate.id, agentId, since)
      const last = failures[0]?.completedAt
      if (last === undefined || last === null) return true
      const remainingMs = (certificate.expiresAt ?? now).getTime() - now.getTime()
      return last.getTime() + pauseAfterFailuresMs(failures.length, remainingMs) <= now.getTime()
    }
    const due: (string | null)[] = []
    let anyVersion = false
    for (const agentId of keygenMode === "server" ? [] : agentIds) {
      const version = await versions.newestOf(tx, certificate.id, agentId)
      if (version === null) continue
      anyVersion = true
      if (isDue(version.renewAt) && (await mayStart(agentId, version))) due.push(agentId)
    }
    if (anyVersion) return due
    // Imported, or issued for nobody: the certificate's own date counts, for every agent.
    if (!isDue(certificate.renewAt) || !(await mayStart(null, await versions.newest(tx, certificate.id)))) return []
    return keygenMode === "server" || agentIds.length === 0 ? [null] : [...agentIds]
  }

  return {
    /**
     * Opens an issuing run now, whatever the date.
     * @throws AppError `not_found`; `invalid_state` archived, revoked or renewed by its own client; `conflict` when one is
     *   under way and `force` is not given
     */
    trigger: (id: string, { force }: { force: boolean }, actor: Actor): Promise<{ jobId: string }> =>
      db.transaction(async (tx) => {
        const certificate = await certificates.lock(tx, id)
        if (certificate === null) throw new AppError("not_found", `certificate ${id} does not exist`)
        if (isTerminal(certificate.status)) {
          throw new AppError("invalid_state", `certificate ${id} is ${certificate.status} and cannot be renewed`)
        }
        if (isRenewedByItsClient(certificate.source)) {
          throw new AppError("invalid_state", `certificate ${id} came by ${certificate.source}: its client renews it`)
        }
        if (certificate.status === "RenewalInProgress" && !force) {
          throw new AppError("conflict", `a renewal of certificate ${id} is already running`)
        }
        const rules = await certificates.rules(tx, certificate)
        const needsApproval = rules.profile?.requiresApproval === true
        const live = await jobs.liveIssuing(tx, id)
        if (needsApproval && !force && live.some((job) => job.status === "AwaitingApproval")) {
          throw new AppError("conflict", `a renewal of certificate ${id} is already waiting for approval`)
        }
        for (const job of live) {
          // What waits for its retry would come back beside the new run.
          if (mayRetry(job)) await queue.endRetries(tx, job)
          else {
            await queue.move(tx, job, "Cancelled", {
              actor,
              action: "job_cancelled",
              set: { lastError: "replaced by a renewal that was asked for" },
            })
          }
        }
        const wasIssued = await versions.exists(tx, id)
        const agentIds = [...new Set((await serving.places(id, tx)).map((place) => place.agentId))]
        const opened = await openRun(tx, certificate, rules, agentIds, {
          type: wasIssued ? "Renewal" : "Issuance",
          requestedBy: actorName(actor),
          needsApproval,
        })
        const first = opened[0]
        if (first === undefined) throw new AppError("conflict", `a renewal of certificate ${id} is already running`)
        await audit.append(tx, {
          actor,
          action: "renewal_triggered",
          resourceType: "certificate",
          resourceId: id,
          details: { job_id: first.id, job_ids: opened.map((job) => job.id), force },
        })
        await lifecycle.settle(tx, id)
        return { jobId: first.id }
      }),

    checkOne,

    /** The renewal check: every certificate that is due or near its expiry, soonest first. One bad row stops nobody. */
    async checkAll(signal: AbortSignal): Promise<{ checked: number; opened: number }> {
      const now = clock.now()
      const windowDays = Math.max(31, (await certificates.farthestWindowDays()) + 1)
      const until = new Date(now.getTime() + windowDays * dayMs)
      let after: { expiresAt: Date; id: string } | null = null
      let checked = 0
      let opened = 0
      while (!signal.aborted) {
        const batch: { id: string; expiresAt: Date | null }[] = await certificates.toCheck(now, until, after, batchSize)
        for (const { id } of batch) {
          if (signal.aborted) break
          try {
            opened += (await checkOne(id)).length
          } catch (error) {
            deps.onRowError(id, error)
          }
          checked += 1
        }
        const last = batch.at(-1)
        if (batch.length < batchSize || last === undefined || last.expiresAt === null) break
        after = { expiresAt: last.expiresAt, id: last.id }
      }
      return { checked, opened }
    },
  }
}

export type RenewalService = ReturnType<typeof renewalService>
