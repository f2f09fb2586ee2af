/**
 * From a CSR to a stored version. A CA inside this process signs and commits in one step, so that a crash leaves the job
 * waiting for its CSR. With every other CA a durable intent (lease, CSR) comes before the call, and what a dead server left
 * behind is reconciled by the job processor.
 */
import { type Actor, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Issued, IssueRequest, Issuer, Ordered } from "../connectors/issuers/contract"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError, messageOf } from "../errors"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { parseCertificate } from "../pki/certificate"
import { type Csr, parseCsr } from "../pki/csr"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import { checkCsr, checkLifetime, type IssuanceRules, isShortLived } from "./csr-rules"
import type { DeploymentService } from "./deployment.service"
import type { LifecycleService } from "./lifecycle.service"
import type { ServingStore } from "./serving.store"
import type { VersionRow, VersionStore } from "./version.store"

/** An issuer ready to be asked. */
export interface OpenIssuer {
  readonly connector: Issuer
  /** Its `issue` has no effect outside this process. */
  readonly inProcess: boolean
}

interface Deps {
  db: Pick<Db, "transaction" | "read">
  certificates: CertificateStore
  versions: VersionStore
  serving: ServingStore
  jobs: JobStore
  queue: Pick<JobQueue, "move">
  deployments: Pick<DeploymentService, "afterIssuance">
  lifecycle: Pick<LifecycleService, "settle" | "afterJob" | "renewAtOf" | "moveTo">
  audit: Pick<AuditService, "append">
  openIssuer: (issuerId: string) => Promise<OpenIssuer>
  clock: Clock
  /** Identifies this server in leases. */
  serverId: string
  keygenMode: "agent" | "server"
  onBackgroundError: (jobId: string, error: unknown) => void
}

export type CsrOutcome = "csr_signed" | "csr_accepted"

/** How long a CSR call waits for the CA before it answers "accepted". */
const answerWithinMs = 20_000
export const leaseMs = 120_000
/** First pause before an open order is asked about again; it triples up to the cap. */
const orderPollMs = 5_000

interface Subject {
  readonly certificate: CertificateRow
  readonly rules: IssuanceRules
  readonly windowDays: number
  readonly needsApproval: boolean
}

const asOrdered = (result: Issued | Ordered): Ordered | null => ("certPem" in result ? null : result)

const normalChain = (certPem: string, chainPem: string): string =>
  `${[certPem, chainPem]
    .map((pem) => pem.trim())
    .filter((pem) => pem !== "")
    .join("\n")}\n`

export const issuanceService = (deps: Deps) => {
  const { db, certificates, versions, serving, jobs, queue, deployments, lifecycle, audit, openIssuer, clock } = deps
  /** Jobs whose CA call runs in this process: their leases are renewed. */
  const inHand = new Set<string>()

  const subjectOf = async (certificate: CertificateRow): Promise<Subject> => {
    const { policy, profile } = await certificates.rules(db.read, certificate)
    return {
      certificate,
      rules: { commonName: certificate.commonName, sans: certificate.sans, profile },
      windowDays: policy?.renewalWindowDays ?? 30,
      needsApproval: profile?.requiresApproval === true,
    }
  }

  const requestFor = ({ certificate, rules }: Subject, csrPem: string, idempotencyKey: string): IssueRequest => ({
    csrPem,
    commonName: certificate.commonName,
    sans: certificate.sans,
    ekus: rules.profile?.allowedEkus ?? [],
    maxTtlSeconds: rules.profile?.maxTtlSeconds ?? 0,
    idempotencyKey,
  })

  /** Checks what the CA returned before anything is stored, and makes the row of it. */
  const versionOf = (
    subject: Subject,
    csr: Csr,
    csrPem: string,
    issued: Issued,
    agentId: string | null,
    encryptedKey: Buffer | null,
  ): VersionRow => {
    const facts = parseCertificate(issued.certPem)
    if (!facts.spkiDer.equals(csr.spkiDer)) {
      throw new AppError("upstream", "the issuer returned a certificate for another key than the CSR's")
    }
    const createdAt = clock.now()
    checkLifetime(facts.notAfter, subject.rules.profile, createdAt)
    const dates = { createdAt, notAfter: facts.notAfter }
    return {
      id: newId("cv-"),
      certificateId: subject.certificate.id,
      serialNumber: facts.serial,
      notBefore: facts.notBefore,
      notAfter: facts.notAfter,
      fingerprintSha256: facts.fingerprint,
      pemChain: normalChain(issued.certPem, issued.chainPem),
      csrPem,
      keyAlgorithm: csr.keyAlgorithm,
      keySize: csr.keySize,
      issuerId: subject.certificate.issuerId,
      agentId,
      orderId: issued.orderId ?? null,
      encryptedKey,
      shortLived: isShortLived(subject.rules.profile),
      renewAt: lifecycle.renewAtOf(subject.certificate.id, subject.windowDays, dates),
      ariNextAt: null,
      createdAt,
    }
  }

  /** Stores a version and everything that follows from it. The caller holds the certificate's lock. */
  const store = async (tx: Tx, version: VersionRow, rolloutId: string | null): Promise<void> => {
    await versions.insert(tx, version)
    const now = clock.now()
    await certificates.patch(tx, version.certificateId, { lastRenewalAt: now, updatedAt: now })
    await deployments.afterIssuance(tx, version, rolloutId)
  }

  const completedDetails = (version: VersionRow) => ({
    version_id: version.id,
    serial: version.serialNumber,
    not_after: version.notAfter.toISOString(),
    agent_id: version.agentId,
    keygen_mode: deps.keygenMode,
  })

  /** Ends a job with its version. null when the job was taken from us meanwhile. */
  const complete = (job: JobRow, version: VersionRow, actor: Actor): Promise<JobRow | null> =>
    db.transaction(async (tx) => {
      const certificate = await certificates.lock(tx, version.certificateId)
      if (certificate === null) return null
      const moved = await queue.move(tx, job, "Completed", {
        actor,
        action: "renewal_job_completed",
        details: completedDetails(version),
        // A job that never ran has used its first attempt all the same.
        set: { versionId: version.id, lastError: null, attempts: Math.max(job.attempts, 1), agentId: version.agentId },
      })
      if (moved === null) {
        // Cancelled while an outside CA was signing: what exists is recorded, and goes nowhere.
        if (job.status === "Running") await versions.insert(tx, version)
        return null
      }
      if (isTerminal(certificate.status)) await versions.insert(tx, version)
      else await store(tx, version, job.rolloutId)
      await lifecycle.afterJob(tx, moved)
      return moved
    })

  const fail = (
    job: JobRow,
    error: unknown,
    action: string,
    actor: Actor,
    set: { final?: boolean } = {},
  ): Promise<void> =>
    db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const reason = messageOf(error)
      const attempts = Math.max(job.attempts, 1)
      const failed = await queue.move(tx, job, "Failed", {
        actor,
        action,
        details: { reason },
        set: { lastError: reason, attempts, ...(set.final === true ? { maxAttempts: attempts } : {}) },
      })
      if (failed !== null) await lifecycle.afterJob(tx, failed)
    })

  /** The two-step way: intent, call, result. Resolves when the CA has decided, or when it has taken an order. */
  const issueOutside = async (
    subject: Subject,
    running: JobRow,
    csr: Csr,
    csrPem: string,
    issuer: OpenIssuer,
    actor: Actor,
    sealedKey: Buffer | null,
  ): Promise<CsrOutcome> => {
    inHand.add(running.id)
    try {
      const result = await issuer.connector.issue(requestFor(subject, csrPem, running.id))
      const ordered = asOrdered(result)
      if (ordered !== null) {
        await db.transaction((tx) =>
          jobs.patch(tx, running.id, {
            orderId: ordered.orderId,
            nextPollAt: new Date(clock.now().getTime() + orderPollMs),
            // From here on the order is the claim: any server may ask about it.
            leaseUntil: clock.now(),
            lastError: `waiting for CA, order ${ordered.orderId}`,
          }),
        )
        return "csr_accepted"
      }
      const version = versionOf(subject, csr, csrPem, result as Issued, running.agentId, sealedKey)
      await complete(running, version, actor)
      return "csr_signed"
    } catch (error) {
      await fail(running, error, "renewal_job_failed", actor)
      throw error instanceof AppError ? error : new AppError("upstream", messageOf(error), { cause: error })
    } finally {
      inHand.delete(running.id)
    }
  }

  const start = (job: JobRow, csr: Csr, csrPem: string, agentId: string | null, actor: Actor): Promise<JobRow | null> =>
    db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const now = clock.now()
      return queue.move(tx, job, "Running", {
        actor,
        action: "csr_submitted",
        details: { agent_id: agentId, key_algorithm: csr.keyAlgorithm, key_size: csr.keySize },
        set: {
          csrPem,
          agentId: job.agentId ?? agentId,
          attempts: Math.max(job.attempts, 1),
          startedAt: job.startedAt ?? now,
          leaseHolder: deps.serverId,
          leaseUntil: new Date(now.getTime() + leaseMs),
          orderId: null,
          nextPollAt: null,
        },
      })
    })

  /** Answers for the CSR of a waiting job. null: the job was no longer waiting. */
  const serveJob = async (
    subject: Subject,
    job: JobRow,
    csr: Csr,
    csrPem: string,
    agentId: string,
    actor: Actor,
  ): Promise<CsrOutcome | null> => {
    const issuer = await openIssuer(subject.certificate.issuerId).catch(async (error) => {
      await fail(job, error, "renewal_job_failed", actor)
      throw error
    })
    if (issuer.inProcess) {
      let version: VersionRow
      try {
        const issued = (await issuer.connector.issue(requestFor(subject, csrPem, job.id))) as Issued
        version = versionOf(subject, csr, csrPem, issued, agentId, null)
      } catch (error) {
        await fail(job, error, "renewal_job_failed", actor)
        throw error
      }
      return (await complete(job, version, actor)) === null ? null : "csr_signed"
    }
    const running = await start(job, csr, csrPem, agentId, actor)
    if (running === null) return null
    const work = issueOutside(subject, running, csr, csrPem, issuer, actor, null)
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<CsrOutcome>((resolve) => {
      timer = setTimeout(() => resolve("csr_accepted"), answerWithinMs)
    })
    const outcome = await Promise.race([work, late]).finally(() => clearTimeout(timer))
    // Past the answer nobody awaits the call any more; its failure is on the job already.
    if (outcome === "csr_accepted") work.catch((error) => deps.onBackgroundError(running.id, error))
    return outcome
  }

  /** A CSR that no job waits for, of an agent that serves the certificate. */
  const signDirectly = async (
    subject: Subject,
    csr: Csr,
    csrPem: string,
    agentId: string,
    actor: Actor,
  ): Promise<CsrOutcome> => {
    const { certificate } = subject
    if (subject.needsApproval) {
      throw new AppError("invalid_state", `profile ${certificate.certificateProfileId} requires an approved renewal`)
    }
    const issuer = await openIssuer(certificate.issuerId)
    const result = await issuer.connector.issue(requestFor(subject, csrPem, newId("req-")))
    if (asOrdered(result) !== null) {
      throw new AppError(
        "invalid_state",
        `the issuer of certificate ${certificate.id} decides later: trigger a renewal`,
      )
    }
    const version = versionOf(subject, csr, csrPem, result as Issued, agentId, null)
    await db.transaction(async (tx) => {
      const locked = await certificates.lock(tx, certificate.id)
      if (locked === null || isTerminal(locked.status)) {
        throw new AppError("invalid_state", `certificate ${certificate.id} is no longer managed`)
      }
      // The same CSR twice at once: the first one to lock the certificate has stored it.
      const newest = await versions.newestOf(tx, certificate.id, agentId)
      if (newest !== null && isSameCsr(newest.csrPem, csr)) return
      await store(tx, version, null)
      if (locked.status !== "RenewalInProgress") await lifecycle.moveTo(tx, locked, "Active")
      await lifecycle.settle(tx, certificate.id)
      await audit.append(tx, {
        actor,
        action: "certificate_issued",
        resourceType: "certificate",
        resourceId: certificate.id,
        details: completedDetails(version),
      })
    })
    return "csr_signed"
  }

  const isSameCsr = (storedPem: string, csr: Csr): boolean => {
    if (storedPem === "") return false
    return parseCsr(storedPem).der.equals(csr.der)
  }

  const rejected = async (job: JobRow | null, error: unknown, actor: Actor): Promise<never> => {
    if (job !== null) await fail(job, error, "csr_rejected", actor)
    throw error
  }

  return {
    inHand,

    /**
     * A CSR of an agent for a certificate it serves.
     * @throws AppError `not_found` unknown certificate, or not one of this agent; `invalid_state` revoked or archived;
     *   `validation` a bad CSR, which also fails the waiting job; `upstream` the issuer failed
     */
    async submitCsr(
      { agentId, certificateId, csrPem }: { agentId: string; certificateId: string; csrPem: string },
      actor: Actor,
    ): Promise<CsrOutcome> {
      const found = await certificates.get(certificateId)
      if (found === null) throw new AppError("not_found", `certificate ${certificateId} does not exist`)
      if (actor.role === "agent" && !(await serving.isMapped(certificateId, agentId))) {
        throw new AppError("not_found", `certificate ${certificateId} is not deployed to a target of agent ${agentId}`)
      }
      if (isTerminal(found.status)) {
        throw new AppError("invalid_state", `certificate ${certificateId} is ${found.status}`)
      }
      const subject = await subjectOf(found)
      // Whoever loses a race looks again: the winner has left either a version or another waiting job.
      for (let round = 0; round < 5; round += 1) {
        const job = await jobs.awaitingCsr(db.read, certificateId, agentId)
        let csr: Csr
        try {
          csr = parseCsr(csrPem)
          checkCsr(csr, subject.rules)
        } catch (error) {
          return rejected(job, error, actor)
        }
        if (job !== null) {
          const outcome = await serveJob(subject, job, csr, csrPem, agentId, actor)
          if (outcome !== null) return outcome
          continue
        }
        const newest = await versions.newestOf(db.read, certificateId, agentId)
        if (newest !== null && isSameCsr(newest.csrPem, csr)) return "csr_signed"
        const running = await jobs.runningWithCsr(certificateId, agentId)
        if (running !== null && isSameCsr(running.csrPem ?? "", csr)) return "csr_accepted"
        return signDirectly(subject, csr, csrPem, agentId, actor)
      }
      throw new AppError("unavailable", `certificate ${certificateId} is changing too fast; send the CSR again`)
    },

    /** A job that failed because of the world, seen from outside: the processor uses it for what it cannot do. */
    fail,
    complete,
    start,
    subjectOf,
    issueOutside,
    versionOf,

    /** Asks the CA about an open order and finishes the job when it has decided. */
    async followOrder(job: JobRow): Promise<void> {
      const { certificateId, orderId, csrPem } = job
      if (certificateId === null || orderId === null || csrPem === null) return
      const certificate = await certificates.get(certificateId)
      if (certificate === null) return
      const subject = await subjectOf(certificate)
      const { connector } = await openIssuer(certificate.issuerId)
      if (connector.orderStatus === undefined) {
        return fail(
          job,
          new AppError("not_supported", "the issuer cannot be asked about orders"),
          "renewal_job_failed",
          systemActor,
        )
      }
      const status = await connector.orderStatus(orderId).catch((error) => ({
        // The CA could not be reached: the order is still there, and asked about again.
        state: "pending" as const,
        message: messageOf(error),
      }))
      if (status.state === "failed") {
        const reason = new AppError("upstream", status.message ?? `order ${orderId} failed`)
        return fail(job, reason, "renewal_job_failed", systemActor)
      }
      if (status.state === "completed" && "certPem" in status && status.certPem !== undefined) {
        const issued = { certPem: status.certPem, chainPem: status.chainPem ?? "", orderId }
        try {
          await complete(job, versionOf(subject, parseCsr(csrPem), csrPem, issued, job.agentId, null), systemActor)
        } catch (error) {
          await fail(job, error, "renewal_job_failed", systemActor)
        }
        return
      }
      const waitedMs = clock.now().getTime() - job.statusSince.getTime()
      await db.transaction((tx) =>
        jobs.patch(tx, job.id, {
          nextPollAt: new Date(clock.now().getTime() + Math.min(Math.max(orderPollMs, waitedMs / 2), 300_000)),
          lastError: status.message ?? `waiting for CA, order ${orderId}`,
        }),
      )
    },
  }
}

export type IssuanceService = ReturnType<typeof issuanceService>
