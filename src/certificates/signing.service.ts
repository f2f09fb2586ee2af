/**
 * What a CA is asked, and what becomes of its answer. A CA outside this process is only called for a job that carries the
 * intent (lease, CSR), so that what a dead server left behind can be reconciled; what it has signed is always stored.
 */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Issued, IssueRequest, Issuer } from "../connectors/issuers/contract"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError, messageOf } from "../errors"
import type { IssuerGates } from "../issuers/issuer-gate"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { parseCertificate } from "../pki/certificate"
import type { Csr } from "../pki/csr"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import { checkLifetime, type IssuanceRules, isShortLived } from "./csr-rules"
import type { DeploymentService } from "./deployment.service"
import type { LifecycleService } from "./lifecycle.service"
import { outsideIssuance } from "./outside-issuance"
import type { RevocationService } from "./revocation.service"
import type { VersionRow, VersionStore } from "./version.store"

/** An issuer ready to be asked. */
export interface OpenIssuer {
  readonly connector: Issuer
  /** Its `issue` has no effect outside this process. */
  readonly inProcess: boolean
}

export interface SigningDeps {
  db: Pick<Db, "transaction" | "read">
  certificates: CertificateStore
  versions: VersionStore
  jobs: JobStore
  queue: Pick<JobQueue, "move">
  deployments: Pick<DeploymentService, "afterIssuance">
  lifecycle: Pick<LifecycleService, "settle" | "afterJob" | "renewAtOf" | "moveTo">
  news: Pick<CertificateNews, "issued">
  revocations: Pick<RevocationService, "revokeLate">
  audit: Pick<AuditService, "append">
  openIssuer: (issuerId: string) => Promise<OpenIssuer>
  gates: Pick<IssuerGates, "ask" | "demandOpen">
  clock: Clock
  /** Identifies this server in leases. */
  serverId: string
  keygenMode: "agent" | "server"
  /** How long a caller waits for the CA before it is told that the answer comes later, in milliseconds. */
  answerWithinMs?: number
  onBackgroundError: (jobId: string, error: unknown) => void
}

export type CsrOutcome = "csr_signed" | "csr_accepted"

/** How long a server may be silent before its jobs are given to others. */
export const leaseMs = 120_000
/** A certificate with the rules by which it is issued. */
export interface Subject {
  readonly certificate: CertificateRow
  readonly rules: IssuanceRules
  readonly windowDays: number
  readonly attempts: number
  readonly needsApproval: boolean
}

const normalChain = (certPem: string, chainPem: string): string =>
  `${[certPem, chainPem]
    .map((pem) => pem.trim())
    .filter((pem) => pem !== "")
    .join("\n")}\n`

export const signingService = (deps: SigningDeps) => {
  const { db, certificates, versions, jobs, queue, deployments, lifecycle, news, revocations, audit, clock } = deps
  const subjectOf = async (certificate: CertificateRow): Promise<Subject> => {
    const { policy, profile } = await certificates.rules(db.read, certificate)
    return {
      certificate,
      rules: { commonName: certificate.commonName, sans: certificate.sans, profile },
      windowDays: policy?.renewalWindowDays ?? 30,
      attempts: Math.max(1, policy?.maxRetries ?? 3),
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
    subject: Pick<Subject, "rules" | "windowDays"> & { readonly certificate: Pick<CertificateRow, "id" | "issuerId"> },
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

  /** What follows from a stored version. The caller holds the certificate's lock. */
  const follow = async (tx: Tx, version: VersionRow, rolloutId: string | null): Promise<void> => {
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

  /**
   * What a CA signed for a job that was cancelled, or given to another server, meanwhile. It is recorded, and goes nowhere: no
   * agent is said to hold its key, or the certificate would count as renewed while the old one is still in place.
   */
  const storeLate = async (
    tx: Tx,
    job: JobRow,
    certificate: CertificateRow,
    version: VersionRow,
    actor: Actor,
  ): Promise<void> => {
    // Two servers may ask about the same order: the other one has stored it.
    if (!(await versions.insertNew(tx, { ...version, agentId: null }))) return
    await audit.append(tx, {
      actor,
      action: "certificate_issued",
      resourceType: "certificate",
      resourceId: version.certificateId,
      details: { ...completedDetails(version), agent_id: null, job_id: job.id, came_too_late: true },
    })
    await revocations.revokeLate(tx, certificate, version)
    await lifecycle.settle(tx, version.certificateId)
    await news.issued(tx, version.certificateId)
  }

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
        set: { lastError: null, attempts: Math.max(job.attempts, 1), agentId: version.agentId },
      })
      if (moved === null) {
        if (job.status === "Running") await storeLate(tx, job, certificate, version, actor)
        return null
      }
      const versionId = await versions.insertOrAdopt(tx, version)
      await jobs.patch(tx, job.id, { versionId })
      if (job.status === "AwaitingCSR") {
        await audit.append(tx, {
          actor,
          action: "csr_submitted",
          resourceType: "certificate",
          resourceId: version.certificateId,
          details: { agent_id: version.agentId, key_algorithm: version.keyAlgorithm, key_size: version.keySize },
        })
      }
      if (!isTerminal(certificate.status)) await follow(tx, { ...version, id: versionId }, job.rolloutId)
      await lifecycle.afterJob(tx, moved)
      await news.issued(tx, version.certificateId)
      return moved
    })

  /** Ends a job with the reason, unless it was taken from us meanwhile. */
  const fail = (job: JobRow, error: unknown, action: string, actor: Actor): Promise<void> =>
    db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const reason = messageOf(error)
      const failed = await queue.move(tx, job, "Failed", {
        actor,
        action,
        details: { reason },
        set: { lastError: reason, attempts: Math.max(job.attempts, 1) },
      })
      if (failed !== null) await lifecycle.afterJob(tx, failed)
    })

  /** Takes a job into hand: from here on it carries the CSR and a lease. null when it was no longer there to be taken. */
  const start = (
    job: JobRow,
    csr: Csr,
    csrPem: string,
    { agentId, attempts }: { agentId: string | null; attempts: number },
    actor: Actor,
  ): Promise<JobRow | null> =>
    db.transaction(async (tx) => {
      const certificate = job.certificateId === null ? null : await certificates.lock(tx, job.certificateId)
      if (certificate === null || isTerminal(certificate.status)) return null
      const now = clock.now()
      const running = await queue.move(tx, job, "Running", {
        actor,
        action: "csr_submitted",
        details: { agent_id: agentId, key_algorithm: csr.keyAlgorithm, key_size: csr.keySize },
        set: {
          csrPem,
          agentId: job.agentId ?? agentId,
          attempts,
          lastError: null,
          startedAt: job.startedAt ?? now,
          leaseHolder: deps.serverId,
          leaseUntil: new Date(now.getTime() + leaseMs),
          orderId: null,
          nextPollAt: null,
        },
      })
      if (running !== null) await lifecycle.afterJob(tx, running)
      return running
    })

  const outside = outsideIssuance({ ...deps, subjectOf, requestFor, versionOf, complete, fail })

  return {
    ...outside,
    subjectOf,
    requestFor,
    versionOf,
    completedDetails,
    follow,
    complete,
    fail,
    start,
  }
}
