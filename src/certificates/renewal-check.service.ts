/**
 * The renewal check: moves certificates by their dates, tells owners of what expires, and opens a job where one is due. It looks at
 * many certificates with a few reads and decides in memory; only what is to be changed costs a transaction, and those are shared by
 * several certificates, each of which is looked at again under its lock.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Query, Tx } from "../db/db"
import { isOpen, mayRetry } from "../jobs/job.machine"
import type { JobRow } from "../jobs/job.store"
import { inBatches } from "./batches"
import { type CertificateStatus, isRenewedByItsClient, isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import type { Candidate, DueCandidate, DueStore, IssuingJob, PolicyRow, Position } from "./due.store"
import { defaultPolicy, type IssuingRun, type IssuingRunService } from "./issuing-run.service"
import type { LifecycleService } from "./lifecycle.service"
import { effectiveThresholds, pauseAfterFailuresMs, statusByDate } from "./renewal-point"
import type { ServedPlace, ServingStore } from "./serving.store"
import type { VersionDates, VersionStore } from "./version.store"

export interface RenewalCheckDeps {
  db: Pick<Db, "transaction" | "read" | "dialect">
  certificates: Pick<CertificateStore, "lockAll">
  due: DueStore
  versions: Pick<VersionStore, "newestOfEach">
  serving: Pick<ServingStore, "placesOf">
  runs: IssuingRunService
  lifecycle: Pick<LifecycleService, "moveAll">
  news: Pick<CertificateNews, "checked" | "unsaid">
  audit: Pick<AuditService, "append">
  clock: Clock
  keygenMode: "agent" | "server"
  onRowError: (certificateId: string, error: unknown) => void
}

const dayMs = 86_400_000
/** Candidates read at once: few columns, all from an index. */
const pageSize = 1000
/** Rows of the index that a query passes over at most. */
const pieceSize = 10_000
/** Policies that a query names; certificates under others are looked at one by one. */
const mostNamed = 500
/**
 * `lookSize`: certificates looked at with one set of reads, between which requests get their turn. `batchSize`: those of one transaction,
 * which on SQLite holds everybody and on PostgreSQL only who wants to change the same ones. `parallel`: transactions at once.
 */
const measures = {
  sqlite: { lookSize: 100, batchSize: 50, parallel: 1 },
  postgres: { lookSize: 400, batchSize: 100, parallel: 2 },
} as const

/** A certificate, and all that decides about its renewal. */
interface Looked {
  readonly certificate: CertificateRow
  readonly rules: IssuingRun["rules"]
  readonly places: readonly ServedPlace[]
  /** Issuing jobs that are open, or failed and will be retried. */
  readonly live: readonly IssuingJob[]
  /** The newest of each agent, newest first; none where all agents have a job already. */
  readonly versions: readonly VersionDates[]
  /** Runs that ended without a certificate, newest first. */
  readonly failed: readonly FailedRun[]
}

type FailedRun = IssuingJob & { readonly completedAt: Date }

interface Decision {
  readonly status: CertificateStatus
  /** Agents whose version is due and for whom nothing is under way; `null` stands for "whoever". */
  readonly due: readonly (string | null)[]
}

const grouped = <R>(rows: readonly R[], keyOf: (row: R) => string | null): Map<string, R[]> => {
  const groups = new Map<string, R[]>()
  for (const row of rows) {
    const key = keyOf(row)
    if (key === null) continue
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [row])
    else group.push(row)
  }
  return groups
}

/** A job for nobody counts for everybody. `null` asks for any. */
const isUnderWay = (live: readonly IssuingJob[], agentId: string | null): boolean =>
  live.some((job) => agentId === null || job.agentId === agentId || job.agentId === null)

const agentsOf = (places: readonly ServedPlace[]): string[] => [...new Set(places.map((place) => place.agentId))]

export const renewalCheckService = (deps: RenewalCheckDeps) => {
  const { db, certificates, due, versions, serving, runs, lifecycle, news, audit, clock, keygenMode } = deps
  const { lookSize, batchSize, parallel } = measures[db.dialect]

  const lookAt = async (query: Query | Tx, rows: readonly CertificateRow[]): Promise<Looked[]> => {
    const managed = rows.filter((row) => !isTerminal(row.status) && row.status !== "Failed")
    if (managed.length === 0) return []
    const now = clock.now()
    const isDue = ({ renewAt }: CertificateRow) => renewAt !== null && renewAt <= now
    const dueIds = managed.filter(isDue).map((row) => row.id)
    const rulesFor = await due.rulesOf(query, managed)
    // The status of a certificate that is being renewed depends on its jobs; everything else only matters when one is due.
    const asked = managed.filter((row) => isDue(row) || row.status === "RenewalInProgress").map((row) => row.id)
    const issuing = grouped(
      asked.length === 0 ? [] : await due.issuingOf(query, asked),
      ({ certificateId }) => certificateId,
    )
    const liveOf = (id: string) => (issuing.get(id) ?? []).filter((job) => isOpen(job.status) || mayRetry(job))
    const failedOf = (id: string) =>
      (issuing.get(id) ?? []).filter(
        (job): job is FailedRun => job.completedAt !== null && !isOpen(job.status) && !mayRetry(job),
      )
    const places = dueIds.length === 0 ? new Map<string, ServedPlace[]>() : await serving.placesOf(dueIds, query)
    // Nearly all that are found due again wait for the job that was opened the first time.
    const waiting = dueIds.filter((id) => {
      const agentIds = agentsOf(places.get(id) ?? [])
      const live = liveOf(id)
      return agentIds.length === 0 ? live.length === 0 : !agentIds.every((agentId) => isUnderWay(live, agentId))
    })
    const newest = grouped(
      waiting.length === 0 ? [] : await versions.newestOfEach(query, waiting),
      ({ certificateId }) => certificateId,
    )
    return managed.map((certificate) => ({
      certificate,
      rules: rulesFor(certificate),
      places: places.get(certificate.id) ?? [],
      live: liveOf(certificate.id),
      versions: newest.get(certificate.id) ?? [],
      failed: failedOf(certificate.id),
    }))
  }

  const statusOf = ({ certificate, rules, live }: Looked, now: Date): CertificateStatus => {
    const { status } = certificate
    if (status === "RenewalInProgress" && live.some((job) => job.status !== "AwaitingApproval")) return status
    const byDate = statusByDate(certificate, rules.policy ?? defaultPolicy, now)
    // A certificate that was imported as Pending is only ever moved by its expiry.
    return status === "Pending" && byDate === "Active" ? status : byDate
  }

  const dueAgents = (looked: Looked, now: Date): (string | null)[] => {
    const { certificate, live, places, failed } = looked
    const isDue = (renewAt: Date | null) => renewAt !== null && renewAt <= now
    if (!isDue(certificate.renewAt)) return []
    if (isRenewedByItsClient(certificate.source) || certificate.tags.demo === "true") return []
    const agentIds = agentsOf(places)
    // Nobody to make the key: shown as such, and nothing is opened that could only wait.
    if (agentIds.length === 0 && keygenMode === "agent") return []

    const mayStart = (agentId: string | null, version: VersionDates | null): boolean => {
      if (isUnderWay(live, agentId)) return false
      const since = version?.createdAt ?? certificate.createdAt
      const failures = failed.filter(
        (run) => run.completedAt > since && (agentId === null || run.agentId === agentId || run.agentId === null),
      )
      const [last] = failures
      if (last === undefined) return true
      const remainingMs = (certificate.expiresAt ?? now).getTime() - now.getTime()
      return last.completedAt.getTime() + pauseAfterFailuresMs(failures.length, remainingMs) <= now.getTime()
    }

    const found: (string | null)[] = []
    let anyVersion = false
    for (const agentId of keygenMode === "server" ? [] : agentIds) {
      const version = looked.versions.find((row) => row.agentId === agentId)
      if (version === undefined) continue
      anyVersion = true
      if (isDue(version.renewAt) && mayStart(agentId, version)) found.push(agentId)
    }
    if (anyVersion) return found
    // Imported, or issued for nobody: the certificate's own date counts, for every agent.
    if (!mayStart(null, looked.versions[0] ?? null)) return []
    return keygenMode === "server" || agentIds.length === 0 ? [null] : agentIds
  }

  const decide = (looked: Looked, now: Date): Decision => ({
    status: statusOf(looked, now),
    due: dueAgents(looked, now),
  })

  const asNews = ({ certificate, rules }: Looked) => ({ certificate, policy: rules.policy })

  /** Ids of those for which there is something to do, in the order given. */
  const inNeed = async (candidates: readonly DueCandidate[]): Promise<string[]> => {
    const now = clock.now()
    const rest = candidates.filter((row) => !isFresh(row, now)).map((row) => row.id)
    const looked = rest.length === 0 ? [] : await lookAt(db.read, await due.rows(rest))
    const unsaid = await news.unsaid(db.read, looked.map(asNews))
    const needy = new Set(
      looked.flatMap((each) => {
        const { id, status } = each.certificate
        const decision = decide(each, now)
        return decision.due.length > 0 || decision.status !== status || unsaid.has(id) ? [id] : []
      }),
    )
    return candidates.flatMap((row) => (isFresh(row, now) || needy.has(row.id) ? [row.id] : []))
  }

  /** Does what is to be done for certificates, in one transaction. Returns the jobs it opened. */
  const settle = (ids: readonly string[]): Promise<JobRow[]> =>
    db.transaction(async (tx) => {
      const locked = new Map((await certificates.lockAll(tx, ids)).map((row) => [row.id, row]))
      // In the order given, in which agents will get the jobs: soonest expiry first.
      const looked = await lookAt(
        tx,
        ids.flatMap((id) => locked.get(id) ?? []),
      )
      const now = clock.now()
      const decided = looked.map((each) => ({ looked: each, decision: decide(each, now) }))
      const unsaid = await news.unsaid(tx, looked.map(asNews))

      const opened = await runs.open(
        tx,
        decided.flatMap(({ looked: { certificate, rules, places }, decision }): IssuingRun[] => {
          if (decision.due.length === 0) return []
          const agentIds = decision.due.flatMap((agentId) => agentId ?? [])
          const needsApproval = rules.policy?.autoRenew === false || rules.profile?.requiresApproval === true
          return [{ certificate, rules, places, agentIds, needsApproval }]
        }),
        { type: "Renewal", actor: systemActor, trigger: "threshold" },
      )
      // The state by date is passed over where a run has begun: nobody could see it, since both are one transaction.
      const hasBegun = (id: string) => opened.get(id)?.some((job) => job.status !== "AwaitingApproval") === true
      await lifecycle.moveAll(
        tx,
        decided.map(({ looked: { certificate }, decision }) => ({
          certificate,
          to: hasBegun(certificate.id) ? ("RenewalInProgress" as const) : decision.status,
        })),
      )
      for (const { looked: each, decision } of decided) {
        if (!unsaid.has(each.certificate.id)) continue
        await news.checked(tx, { ...each.certificate, status: decision.status }, each.rules.policy)
      }
      await audit.append(
        tx,
        ...decided.flatMap(({ looked: { certificate } }) =>
          (opened.get(certificate.id) ?? []).map((job) => ({
            actor: systemActor,
            action: "renewal_job_created",
            resourceType: "certificate",
            resourceId: certificate.id,
            details: {
              job_id: job.id,
              agent_id: job.agentId,
              days_until_expiry:
                certificate.expiresAt === null ? null : (certificate.expiresAt.getTime() - now.getTime()) / dayMs,
              renewal_trigger: "threshold",
            },
          })),
        ),
      )
      return [...opened.values()].flat()
    })

  /** A judge of rows as they stand in the index: whether nothing can be to do, whatever else is known of the certificate. */
  const quietness =
    (rows: readonly PolicyRow[]) =>
    ({ status, expiresAt, renewAt, renewalPolicyId }: Candidate, now: Date): boolean => {
      if (status !== "Active" || expiresAt === null || (renewAt !== null && renewAt <= now)) return false
      const policy = rows.find((row) => row.id === renewalPolicyId) ?? defaultPolicy
      const days = (expiresAt.getTime() - now.getTime()) / dayMs
      return days > Math.max(0, ...effectiveThresholds({ expiresAt, renewAt }, policy))
    }

  /** What is due and was not looked at since: there is nearly always something to do, and looking twice would be half the work. */
  const isFresh = ({ status, renewAt }: DueCandidate, now: Date): boolean =>
    status === "Active" && renewAt !== null && renewAt <= now

  return {
    /** Looks at one certificate. Returns the jobs it opened. */
    checkOne: (id: string): Promise<JobRow[]> => settle([id]),

    /** Every certificate that is due or near its expiry, soonest first. One bad row stops nobody. */
    async checkAll(signal: AbortSignal): Promise<{ checked: number; opened: number }> {
      const now = clock.now()
      const policies = await due.policies()
      const farthest = policies.flatMap((policy) => [policy.renewalWindowDays, ...policy.alertThresholdsDays])
      const until = new Date(now.getTime() + Math.max(31, ...farthest.map((days) => days + 1)) * dayMs)
      const isQuiet = quietness(policies)
      const automatic = policies.filter((policy) => policy.autoRenew).map((policy) => policy.id)
      let checked = 0
      let opened = 0
      const look = async (candidates: readonly DueCandidate[]): Promise<void> => {
        if (candidates.length === 0 || signal.aborted) return
        try {
          const needy = await inNeed(candidates)
          const made = await inBatches(needy, {
            size: batchSize,
            parallel,
            settle,
            onRowError: deps.onRowError,
            signal,
          })
          opened += made.length
        } catch (error) {
          deps.onRowError(candidates.map((row) => row.id).join(", "), error)
        }
        await nextTurn()
      }

      const waiting: DueCandidate[] = []
      for (let last: Position = null, isLast = false; !isLast && !signal.aborted; ) {
        // No query reads more of the index than a piece, however little of it there is to do.
        const end: Position = await due.pieceEnd(until, last, pieceSize)
        isLast = end === null
        await nextTurn()
        for (let page: Candidate[] | null = null; page === null || page.length === pageSize; ) {
          page = await due.expiring({ until, end, now, automatic: automatic.slice(0, mostNamed) }, last, pageSize)
          checked += page.length
          for (const row of page) if (!isQuiet(row, now)) waiting.push(row)
          while (waiting.length >= lookSize && !signal.aborted) await look(waiting.splice(0, lookSize))
          const place = page.at(-1)
          if (place !== undefined && place.expiresAt !== null) last = { time: place.expiresAt, id: place.id }
          await nextTurn()
          if (signal.aborted) break
        }
        last = end ?? last
      }
      await look(waiting)

      // Due although they live on for long: a CA's advice, or a window that was made shorter since.
      const early: (DueCandidate & { readonly expiresAt: Date })[] = []
      for (let last: Position = null; !signal.aborted; ) {
        const page = await due.due(now, last, pageSize)
        for (const row of page) {
          const { expiresAt } = row
          if (expiresAt !== null && expiresAt > until) early.push({ ...row, expiresAt })
        }
        const end = page.at(-1)
        if (page.length < pageSize || end === undefined || end.renewAt === null) break
        last = { time: end.renewAt, id: end.id }
        await nextTurn()
      }
      checked += early.length
      early.sort((a, b) => a.expiresAt.getTime() - b.expiresAt.getTime())
      for (let from = 0; from < early.length; from += lookSize) await look(early.slice(from, from + lookSize))
      return { checked, opened }
    },
  }
}
