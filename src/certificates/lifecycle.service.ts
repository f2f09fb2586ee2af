/**
 * What follows for a certificate from what happened to its jobs, versions and targets: its status, its dates and how far its
 * roll-out may go. Every method runs in the caller's transaction, with the certificate locked.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Tx } from "../db/db"
import { AppError } from "../errors"
import { isIssuing, isOpen, isUnderWay, mayRetry } from "../jobs/job.machine"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import type { Place, RolloutService } from "../rollouts/rollout.service"
import { type CertificateStatus, canMove, isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import { renewalPoint, statusByDate } from "./renewal-point"
import type { ServingStore } from "./serving.store"
import type { VersionDates, VersionRow, VersionStore } from "./version.store"

interface Deps {
  certificates: CertificateStore
  versions: VersionStore
  serving: ServingStore
  jobs: Pick<JobStore, "liveIssuing" | "liveOfCertificate" | "openOfCertificate" | "isSuperseded">
  queue: Pick<JobQueue, "move" | "endRetries" | "announceCsrJob">
  rollouts: Pick<RolloutService, "advance" | "advanceRunning" | "endRunning">
  audit: Pick<AuditService, "append">
  clock: Clock
}

/** What changes of a certificate beside its status. */
type Facts = Partial<Pick<CertificateRow, "expiresAt" | "renewAt" | "lastRenewalAt" | "updatedAt">>

/**
 * What the caller has read of a certificate in the same transaction after locking it, and nothing has changed since. An issuance would
 * otherwise read everything three times.
 */
export interface Known {
  readonly certificate?: CertificateRow
  readonly places?: readonly Place[]
  /** Its open jobs, and those that failed and will be retried. */
  readonly live?: readonly JobRow[]
}

/** A certificate of which a job has just stored a version, with all that tells what follows from it. */
export interface JustIssued {
  /** As it was locked. */
  readonly certificate: CertificateRow
  /** The newest version of each agent that serves it. */
  readonly current: readonly Pick<VersionDates, "notAfter" | "renewAt">[]
  /** Its jobs that are open or will be retried, without the one that ended. */
  readonly live: readonly JobRow[]
  readonly policy: Parameters<typeof statusByDate>[1] | null
}

/** What the dates are judged by when a certificate's policy is gone. */
const fallbackPolicy = { autoRenew: true, alertThresholdsDays: [30, 14, 7, 0] }

const goneFrom = (job: JobRow): string =>
  `the certificate no longer goes to ${isIssuing(job.type) ? `agent ${job.agentId}` : `target ${job.targetId}`}`

/** A status that tells of a run, and is put right when that is over. */
const endsWithItsRun = (status: CertificateStatus): boolean => status === "RenewalInProgress" || status === "Failed"

const isBeingIssued = (live: readonly JobRow[]): boolean =>
  live.some((job) => isIssuing(job.type) && job.status !== "AwaitingApproval")

/** Expiry and renewal point of the current versions, of which the earliest counts; nothing where they are as they should be. */
const datesBy = (
  certificate: CertificateRow,
  current: readonly Pick<VersionDates, "notAfter" | "renewAt">[],
): Facts => {
  const earliest = (dates: (Date | null)[]): Date | null =>
    dates.reduce((least, date) => (date !== null && (least === null || date < least) ? date : least), null)
  const expiresAt = earliest(current.map((version) => version.notAfter))
  const renewAt = earliest(current.map((version) => version.renewAt))
  const isSame =
    expiresAt?.getTime() === certificate.expiresAt?.getTime() && renewAt?.getTime() === certificate.renewAt?.getTime()
  return isSame ? {} : { expiresAt, renewAt }
}

export const lifecycleService = (deps: Deps) => {
  const { certificates, versions, serving, jobs, queue, rollouts, audit, clock } = deps

  /** The agents that serve a certificate, each once, in a fixed order. */
  const servingAgents = async (tx: Tx, certificateId: string, known?: readonly Place[]): Promise<string[]> => [
    ...new Set((known ?? (await serving.places(certificateId, tx))).map((place) => place.agentId)),
  ]

  /** The version each agent of the set has; without agents the certificate's newest. */
  const currentVersions = async (tx: Tx, certificateId: string, places?: readonly Place[]): Promise<VersionRow[]> => {
    const agentIds = await servingAgents(tx, certificateId, places)
    if (agentIds.length === 0) {
      const newest = await versions.newest(tx, certificateId)
      return newest === null ? [] : [newest]
    }
    const found: VersionRow[] = []
    for (const agentId of agentIds) {
      const newest = await versions.newestOf(tx, certificateId, agentId)
      if (newest !== null) found.push(newest)
    }
    if (found.length > 0) return found
    const unbound = await versions.newest(tx, certificateId)
    return unbound === null ? [] : [unbound]
  }

  /** Changes the status and returns the row as it is then. Fails when the table of moves does not allow it. */
  const moveTo = async (
    tx: Tx,
    certificate: CertificateRow,
    to: CertificateStatus,
    set: Facts = {},
  ): Promise<CertificateRow> => {
    if (certificate.status === to) return certificate
    if (!canMove(certificate.status, to)) {
      throw new AppError("internal", `certificate ${certificate.id} cannot go from ${certificate.status} to ${to}`)
    }
    const moved = await certificates.setStatus(tx, certificate.id, certificate.status, to, {
      updatedAt: clock.now(),
      ...set,
    })
    if (!moved) throw new AppError("conflict", `certificate ${certificate.id} is no longer ${certificate.status}`)
    await audit.append(tx, {
      actor: systemActor,
      action: "certificate_status_changed",
      resourceType: "certificate",
      resourceId: certificate.id,
      details: { from: certificate.status, to },
    })
    return { ...certificate, updatedAt: clock.now(), ...set, status: to }
  }

  /** `moveTo` for several at once, each to a status of its own. The rows are as they were when they were locked. */
  const moveAll = async (
    tx: Tx,
    moves: readonly { readonly certificate: CertificateRow; readonly to: CertificateStatus }[],
  ): Promise<void> => {
    const groups = new Map<string, { from: CertificateStatus; to: CertificateStatus; ids: string[] }>()
    for (const { certificate, to } of moves) {
      const from = certificate.status
      if (from === to) continue
      if (!canMove(from, to)) {
        throw new AppError("internal", `certificate ${certificate.id} cannot go from ${from} to ${to}`)
      }
      const group = groups.get(`${from} ${to}`) ?? { from, to, ids: [] }
      group.ids.push(certificate.id)
      groups.set(`${from} ${to}`, group)
    }
    for (const { from, to, ids } of groups.values()) {
      const moved = await certificates.setStatusOfAll(tx, ids, from, to, { updatedAt: clock.now() })
      if (moved < ids.length) throw new AppError("conflict", `some certificates are no longer ${from}`)
      await audit.append(
        tx,
        ...ids.map((id) => ({
          actor: systemActor,
          action: "certificate_status_changed",
          resourceType: "certificate",
          resourceId: id,
          details: { from, to },
        })),
      )
    }
  }

  const changedDates = async (tx: Tx, certificate: CertificateRow, places?: readonly Place[]): Promise<Facts> => {
    const current = await currentVersions(tx, certificate.id, places)
    // Imported certificates have no version of ours: their dates stay.
    return current.length === 0 ? {} : datesBy(certificate, current)
  }

  /** Takes expiry and renewal point from the current versions. */
  const refreshDates = async (tx: Tx, certificate: CertificateRow): Promise<CertificateRow> => {
    const set = await changedDates(tx, certificate)
    if (Object.keys(set).length > 0) await certificates.patch(tx, certificate.id, set)
    return { ...certificate, ...set }
  }

  /** The status that jobs, versions and dates give a certificate which is not in a terminal one. */
  const settledStatus = async (
    tx: Tx,
    certificate: CertificateRow,
    known?: readonly JobRow[],
  ): Promise<CertificateStatus> => {
    if (isBeingIssued(known ?? (await jobs.liveIssuing(tx, certificate.id)))) return "RenewalInProgress"
    if (!endsWithItsRun(certificate.status)) return certificate.status
    const wasIssued = certificate.expiresAt !== null || (await versions.exists(tx, certificate.id))
    if (!wasIssued) return "Failed"
    const { policy } = await certificates.rules(tx, certificate)
    return statusByDate(certificate, policy ?? fallbackPolicy, clock.now())
  }

  /** Ends what could only wait: key requests to agents that no longer serve the certificate, deployments to targets that went. */
  const endWorkElsewhere = async (tx: Tx, certificateId: string, places: readonly Place[]): Promise<void> => {
    const agents = new Set(places.map((place) => place.agentId))
    const agentOf = new Map(places.map((place) => [place.targetId, place.agentId]))
    for (const job of await jobs.liveOfCertificate(tx, certificateId)) {
      if (isIssuing(job.type) && job.agentId === null) {
        // It waits for anybody: those that have just begun to serve the certificate need not wait for their next poll.
        if (job.status === "AwaitingCSR") queue.announceCsrJob(tx, job)
        continue
      }
      // What an agent or a CA has in hand ends by itself.
      if (job.status === "Running") continue
      const isServed = isIssuing(job.type)
        ? agents.has(job.agentId ?? "")
        : job.targetId === null || agentOf.get(job.targetId) === job.agentId
      if (isServed) continue
      if (mayRetry(job)) await queue.endRetries(tx, job)
      else {
        await queue.move(tx, job, "Cancelled", {
          actor: systemActor,
          action: "job_cancelled",
          set: { lastError: goneFrom(job) },
        })
      }
    }
  }

  return {
    /** For changes that touch several certificates: before anything else, all of them are locked. */
    lockAll: certificates.lockAll,
    places: (certificateId: string, tx: Tx) => serving.places(certificateId, tx),
    servingAgents,
    currentVersions,
    moveAll,
    refreshDates,

    /**
     * Puts the status right after a job changed or a version was stored: a run under way makes it RenewalInProgress, one that
     * is over leaves the certificate Active, Expiring or Expired by date, or Failed when nothing was ever issued. `issued`: a version
     * has just been stored; one without a job makes the certificate Active, unless a run is under way. All of it is one change of the
     * row, which has more indexes than any other. Returns the row as it is then.
     */
    async settle(
      tx: Tx,
      certificateId: string,
      issued: "by a job" | "without a job" | null = null,
      known: Known = {},
    ): Promise<CertificateRow | null> {
      const locked = known.certificate ?? (await certificates.lock(tx, certificateId))
      if (locked === null || isTerminal(locked.status)) return locked
      const now = clock.now()
      const set: Facts = {
        ...(await changedDates(tx, locked, known.places)),
        ...(issued === null ? {} : { lastRenewalAt: now, updatedAt: now }),
      }
      const becomesActive = issued === "without a job" && locked.status !== "RenewalInProgress"
      const certificate = { ...locked, ...set, ...(becomesActive ? { status: "Active" as const } : {}) }
      const to = await settledStatus(tx, certificate, known.live)
      if (to !== locked.status) return moveTo(tx, locked, to, set)
      if (Object.keys(set).length > 0) await certificates.patch(tx, certificateId, set)
      return { ...locked, ...set }
    },

    /** `settle` after an issuance by a job, of several certificates: all of them, or an error. Returns the rows as they are then. */
    async settleIssued(tx: Tx, issued: readonly JustIssued[]): Promise<CertificateRow[]> {
      const now = clock.now()
      const moves = issued.map(({ certificate, current, live, policy }) => {
        const row = { ...certificate, ...datesBy(certificate, current), lastRenewalAt: now, updatedAt: now }
        const byDate = () =>
          endsWithItsRun(row.status) ? statusByDate(row, policy ?? fallbackPolicy, now) : row.status
        const to = isBeingIssued(live) ? "RenewalInProgress" : byDate()
        if (to !== row.status && !canMove(row.status, to)) {
          throw new AppError("internal", `certificate ${row.id} cannot go from ${row.status} to ${to}`)
        }
        return { from: certificate.status, row: { ...row, status: to } }
      })
      const changed = await certificates.settleEach(
        tx,
        moves.map(({ from, row }) => ({ id: row.id, set: row, seen: { status: from } })),
      )
      if (changed < moves.length) throw new AppError("conflict", "a certificate has changed while it was locked")
      await audit.append(
        tx,
        ...moves
          .filter(({ from, row }) => from !== row.status)
          .map(({ from, row }) => ({
            actor: systemActor,
            action: "certificate_status_changed",
            resourceType: "certificate",
            resourceId: row.id,
            details: { from, to: row.status },
          })),
      )
      return moves.map(({ row }) => row)
    },

    /** `settle`, and the roll-out of the job that changed brought forward. Returns the row where the job is an issuing one. */
    async afterJob(
      tx: Tx,
      job: Pick<JobRow, "certificateId" | "rolloutId" | "type" | "status">,
      issued: "by a job" | null = null,
      known: Known = {},
    ): Promise<CertificateRow | null> {
      const { certificateId, rolloutId, type } = job
      if (certificateId === null) return null
      // Locked first, also where only the roll-out moves on: two agents may report at the same moment.
      if (!isIssuing(type) && known.certificate === undefined) await certificates.lock(tx, certificateId)
      const settled = isIssuing(type) ? await this.settle(tx, certificateId, issued, known) : null
      if (rolloutId !== null) {
        await rollouts.advance(tx, rolloutId, known.places ?? (await serving.places(certificateId, tx)))
      }
      return settled
    },

    /**
     * `afterJob`, for those that know what the job was before. Nothing follows where it is under way before and after, for the same
     * agent: status, dates and roll-out are as they were. Most moves of a renewal are of that kind.
     */
    async afterMove(tx: Tx, before: JobRow, after: JobRow): Promise<void> {
      if (isUnderWay(before) && isUnderWay(after) && before.agentId === after.agentId) return
      await this.afterJob(tx, after)
    },

    /** Why a job that broke off must not be taken up again; null where it is still wanted. */
    async reasonToEnd(tx: Tx, job: JobRow): Promise<string | null> {
      if (job.certificateId === null) return null
      const places = await serving.places(job.certificateId, tx)
      if (isIssuing(job.type)) {
        return job.agentId === null || places.some((place) => place.agentId === job.agentId) ? null : goneFrom(job)
      }
      if (!places.some((place) => place.targetId === job.targetId && place.agentId === job.agentId))
        return goneFrom(job)
      return (await jobs.isSuperseded(tx, job)) ? "superseded by a newer deployment" : null
    },

    /** Cancels every open job of a certificate that is no longer to be worked for. */
    async cancelOpenJobs(tx: Tx, certificateId: string, reason: string, actor = systemActor): Promise<void> {
      for (const job of await jobs.openOfCertificate(tx, certificateId)) {
        if (!isOpen(job.status)) continue
        await queue.move(tx, job, "Cancelled", { actor, action: "job_cancelled", set: { lastError: reason } })
      }
      await rollouts.endRunning(tx, certificateId)
    },

    /** The renewal point of a version under a policy. */
    renewAtOf: (certificateId: string, windowDays: number, version: Pick<VersionRow, "createdAt" | "notAfter">): Date =>
      renewalPoint(certificateId, windowDays, { issuedAt: version.createdAt, notAfter: version.notAfter }),

    /**
     * The set of targets changed: work for places that are gone ends, dates follow the agents that are left, and the roll-out
     * the targets that are left.
     */
    async afterTargetsChanged(tx: Tx, certificateId: string): Promise<void> {
      const locked = await certificates.lock(tx, certificateId)
      if (locked === null || isTerminal(locked.status)) return
      const places = await serving.places(certificateId, tx)
      await endWorkElsewhere(tx, certificateId, places)
      await this.settle(tx, certificateId)
      const certificate = await certificates.lock(tx, certificateId)
      if (certificate !== null && ["Active", "Expiring", "Expired"].includes(certificate.status)) {
        const { policy } = await certificates.rules(tx, certificate)
        await moveTo(tx, certificate, statusByDate(certificate, policy ?? fallbackPolicy, clock.now()))
      }
      await rollouts.advanceRunning(tx, certificateId, places)
    },
  }
}

export type LifecycleService = ReturnType<typeof lifecycleService>
