/**
 * Ends issuing jobs with what a CA has signed: the version, the job, its deployments, status and dates of the certificate, who is told
 * and what is recorded are one transaction. Most issuances are alike, and those that end at about the same time share it and its
 * statements; what is out of the ordinary gets one of its own.
 */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Db, Tx } from "../db/db"
import { gathering } from "../db/gathering"
import { AppError } from "../errors"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import type { RolloutRow, RolloutStore } from "../rollouts/rollout.store"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import type { DeploymentService } from "./deployment.service"
import type { DueStore } from "./due.store"
import type { JustIssued, LifecycleService } from "./lifecycle.service"
import type { RevocationService } from "./revocation.service"
import type { ServedPlace, ServingStore } from "./serving.store"
import type { VersionDates, VersionRow, VersionStore } from "./version.store"

export interface CompletionDeps {
  db: Pick<Db, "transaction" | "dialect">
  certificates: Pick<CertificateStore, "lock" | "lockAll">
  versions: Pick<VersionStore, "insertOrAdopt" | "insertNew" | "insertAll" | "newestOfEach">
  jobs: Pick<JobStore, "liveOfCertificate" | "liveOfAll">
  rollouts: Pick<RolloutStore, "getAll">
  serving: Pick<ServingStore, "placesOf">
  due: Pick<DueStore, "rulesOf">
  queue: Pick<JobQueue, "move" | "completeAll">
  deployments: Pick<DeploymentService, "afterIssuance" | "afterIssuances">
  lifecycle: Pick<LifecycleService, "settle" | "settleIssued" | "afterJob" | "places">
  news: Pick<CertificateNews, "issued">
  revocations: Pick<RevocationService, "revokeLate">
  audit: Pick<AuditService, "append">
  keygenMode: "agent" | "server"
}

/** What a CA has signed for a job. */
export interface Completion {
  readonly job: JobRow
  readonly version: VersionRow
  readonly actor: Actor
}

/** A completion of which nothing is out of the ordinary. */
interface Plain extends Completion, JustIssued {
  /** Those of the version's agent. */
  readonly places: readonly ServedPlace[]
  readonly rollout: RolloutRow
}

/**
 * Most completions of one transaction, which on SQLite holds everybody, and transactions at a time: while one is on its way to the disk
 * or the server, the next is made.
 */
const measures = {
  sqlite: { most: 32, parallel: 2 },
  postgres: { most: 32, parallel: 4 },
} as const

const isAsSeen = (live: readonly JobRow[], { id, status, attempts }: JobRow): boolean =>
  live.some((job) => job.id === id && job.status === status && job.attempts === attempts)

/** Whether `a` was issued after `b`. */
const isNewer = (a: Pick<VersionDates, "createdAt" | "id">, b: Pick<VersionDates, "createdAt" | "id">): boolean =>
  a.createdAt > b.createdAt || (a.createdAt.getTime() === b.createdAt.getTime() && a.id > b.id)

export const completionService = (deps: CompletionDeps) => {
  const { db, certificates, versions, jobs, rollouts, serving, due, queue, deployments, lifecycle, news, audit } = deps

  const completedDetails = (version: VersionRow) => ({
    version_id: version.id,
    serial: version.serialNumber,
    not_after: version.notAfter.toISOString(),
    agent_id: version.agentId,
    keygen_mode: deps.keygenMode,
  })

  const csrEvent = (version: VersionRow, actor: Actor) => ({
    actor,
    action: "csr_submitted",
    resourceType: "certificate",
    resourceId: version.certificateId,
    details: { agent_id: version.agentId, key_algorithm: version.keyAlgorithm, key_size: version.keySize },
  })

  /**
   * What a CA signed for a job that was cancelled, or given to another server, meanwhile. It is recorded, and goes nowhere: no
   * agent is said to hold its key, or the certificate would count as renewed while the old one is still in place.
   */
  const storeLate = async (tx: Tx, { job, version, actor }: Completion, certificate: CertificateRow): Promise<void> => {
    // Two servers may ask about the same order: the other one has stored it.
    if (!(await versions.insertNew(tx, { ...version, agentId: null }))) return
    await audit.append(tx, {
      actor,
      action: "certificate_issued",
      resourceType: "certificate",
      resourceId: version.certificateId,
      details: { ...completedDetails(version), agent_id: null, job_id: job.id, came_too_late: true },
    })
    await deps.revocations.revokeLate(tx, certificate, version)
    await news.issued(tx, (await lifecycle.settle(tx, version.certificateId)) ?? certificate)
  }

  const completeAlone = (completion: Completion): Promise<JobRow | null> =>
    db.transaction(async (tx) => {
      const { job, version, actor } = completion
      const certificate = await certificates.lock(tx, version.certificateId)
      if (certificate === null) return null
      const before = await jobs.liveOfCertificate(tx, certificate.id)
      if (!isAsSeen(before, job)) {
        if (job.status === "Running") await storeLate(tx, completion, certificate)
        return null
      }
      // Before the job, which refers to it.
      const versionId = await versions.insertOrAdopt(tx, version)
      const moved = await queue.move(tx, job, "Completed", {
        actor,
        action: "renewal_job_completed",
        details: completedDetails(version),
        // A job that never ran has used its first attempt all the same.
        set: { lastError: null, attempts: Math.max(job.attempts, 1), agentId: version.agentId, versionId },
      })
      // Whoever moves it holds the certificate.
      if (moved === null) throw new AppError("conflict", `job ${job.id} has changed while its certificate was locked`)
      if (job.status === "AwaitingCSR") await audit.append(tx, csrEvent(version, actor))
      const isManaged = !isTerminal(certificate.status)
      const live = before.filter(({ id }) => id !== job.id)
      const places = await lifecycle.places(certificate.id, tx)
      const stored = { ...version, id: versionId }
      const goesOn = isManaged && (await deployments.afterIssuance(tx, stored, job.rolloutId, { places, live }))
      const ended = goesOn ? { ...moved, rolloutId: null } : moved
      const known = { certificate, places, live }
      const settled = await lifecycle.afterJob(tx, ended, isManaged ? "by a job" : null, known)
      await news.issued(tx, settled ?? certificate)
      return moved
    })

  /** The newest versions of the agents that serve a certificate, when this one is stored. */
  const currentWith = (
    version: VersionRow,
    agentIds: ReadonlySet<string>,
    stored: readonly VersionDates[],
  ): VersionDates[] => {
    const own = stored.find(({ agentId }) => agentId === version.agentId)
    const newest = own === undefined || isNewer(version, own) ? version : own
    return [newest, ...stored.filter(({ agentId }) => agentId !== version.agentId && agentIds.has(agentId ?? ""))]
  }

  /** Locks the certificates and reads what each completion depends on; null for what is not plain. */
  const lookAt = async (tx: Tx, set: readonly Completion[]): Promise<(Plain | null)[]> => {
    const ids = [...new Set(set.map(({ version }) => version.certificateId))]
    const locked = new Map((await certificates.lockAll(tx, ids)).map((row) => [row.id, row]))
    const liveOf = Map.groupBy(await jobs.liveOfAll(tx, ids), ({ certificateId }) => certificateId)
    const placesOf = await serving.placesOf(ids, tx)
    const rolloutOf = await rollouts.getAll(tx, [...new Set(set.flatMap(({ job }) => job.rolloutId ?? []))])
    const storedOf = Map.groupBy(await versions.newestOfEach(tx, ids), ({ certificateId }) => certificateId)
    const rulesFor = await due.rulesOf(tx, [...locked.values()])
    const seen = new Set<string>()
    return set.map((completion): Plain | null => {
      const { job, version } = completion
      const { certificateId, agentId } = version
      const certificate = locked.get(certificateId)
      const before = liveOf.get(certificateId) ?? []
      const all = placesOf.get(certificateId) ?? []
      const places = all.filter((place) => place.agentId === agentId)
      const rollout = rolloutOf.get(job.rolloutId ?? "")
      // Two agents of one certificate: the second sees what the first has changed.
      const isFirst = !seen.has(certificateId)
      seen.add(certificateId)
      if (!isFirst || certificate === undefined || isTerminal(certificate.status)) return null
      if (!isAsSeen(before, job) || places.length === 0) return null
      if (rollout?.state !== "running" || rollout.waves.length > 1) return null
      const targetIds = new Set(places.map(({ targetId }) => targetId))
      const isInTheWay = ({ type, status, targetId }: JobRow) =>
        type === "Deployment" && status === "Pending" && targetIds.has(targetId ?? "")
      if (before.some(isInTheWay)) return null
      return {
        ...completion,
        certificate,
        places,
        rollout,
        live: before.filter(({ id }) => id !== job.id),
        current: currentWith(version, new Set(all.map((place) => place.agentId)), storedOf.get(certificateId) ?? []),
        policy: rulesFor(certificate).policy,
      }
    })
  }

  const completePlain = async (tx: Tx, set: readonly Plain[]): Promise<JobRow[]> => {
    if (set.length === 0) return []
    // Before the jobs, which refer to them.
    const stored = await versions.insertAll(
      tx,
      set.map(({ version }) => version),
    )
    // Not that of a CA that has signed the same before: who takes it over is found out one by one.
    if (stored < set.length) throw new AppError("conflict", "a certificate is stored already")
    const moved = await queue.completeAll(
      tx,
      set.map(({ job, version, actor }) => ({
        job,
        actor,
        action: "renewal_job_completed",
        details: completedDetails(version),
        set: { agentId: version.agentId, versionId: version.id },
      })),
    )
    const submitted = set.filter(({ job }) => job.status === "AwaitingCSR")
    await audit.append(tx, ...submitted.map(({ version, actor }) => csrEvent(version, actor)))
    await deployments.afterIssuances(tx, set)
    await news.issued(tx, ...(await lifecycle.settleIssued(tx, set)))
    return moved
  }

  /** The jobs as they are then; null for what is not plain, of which nothing was written. */
  const completeSet = async (set: readonly Completion[]): Promise<(JobRow | null)[]> => {
    try {
      return await db.transaction(async (tx) => {
        const looked = await lookAt(tx, set)
        const plain = looked.filter((each) => each !== null)
        const moved = new Map((await completePlain(tx, plain)).map((job) => [job.id, job]))
        return set.map(({ job }, at) => (looked[at] === null ? null : (moved.get(job.id) ?? null)))
      })
    } catch {
      // One of them spoils it for the others: each shows by itself what is wrong with it.
      return set.map(() => null)
    }
  }

  const completeWithOthers = gathering<Completion, JobRow | null>({ ...measures[db.dialect], work: completeSet })

  return {
    completedDetails,

    /** Ends a job with its version. null when the job was taken from us meanwhile. */
    complete: async (completion: Completion): Promise<JobRow | null> =>
      (await completeWithOthers(completion)) ?? (await completeAlone(completion)),
  }
}

export type CompletionService = ReturnType<typeof completionService>
