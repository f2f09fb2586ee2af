/**
 * What agents get for their CSRs. A CA inside this process signs and commits in one step, so that a crash leaves the job
 * waiting for its CSR; every other CA is called for a job that carries the intent.
 */
import { type Actor, actorName } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Issued } from "../connectors/issuers/contract"
import type { Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import type { JobRow } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { type Csr, parseCsr, readCsr } from "../pki/csr"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow } from "./certificate.store"
import type { CertificateNews } from "./certificate-news"
import { csrLookup, type Found } from "./csr-lookup"
import { checkCsr } from "./csr-rules"
import type { DeploymentService } from "./deployment.service"
import type { DueStore } from "./due.store"
import type { LifecycleService } from "./lifecycle.service"
import type { ServingStore } from "./serving.store"
import { type CsrOutcome, type OpenIssuer, type SigningDeps, type Subject, signingService } from "./signing.service"
import type { VersionRow, VersionStore } from "./version.store"

interface Deps extends SigningDeps {
  queue: Pick<JobQueue, "create" | "move">
  versions: VersionStore
  deployments: Pick<DeploymentService, "afterIssuance">
  lifecycle: Pick<LifecycleService, "settle" | "afterMove" | "renewAtOf">
  news: Pick<CertificateNews, "issued">
  audit: Pick<AuditService, "append">
  serving: Pick<ServingStore, "isMapped" | "mappedAgents">
  due: Pick<DueStore, "rows" | "rulesOf">
  onBackgroundError: (jobId: string, error: unknown) => void
}

interface Submission {
  readonly csr: Csr
  readonly csrPem: string
  readonly agentId: string
  readonly actor: Actor
}

const isSameCsr = (storedPem: string | null, csr: Csr): boolean =>
  storedPem !== null && storedPem !== "" && parseCsr(storedPem).der.equals(csr.der)

const missing = (id: string) => new AppError("not_found", `certificate ${id} does not exist`)

export const issuanceService = (deps: Deps) => {
  const { db, certificates, versions, serving, jobs, queue, lifecycle, audit } = deps
  const signing = signingService(deps)
  const { complete, fail, start, issueWithin, requestFor, subjectOf, versionOf } = signing
  const lookUp = csrLookup(deps)

  const demandManaged = (certificate: CertificateRow | null, id: string): CertificateRow => {
    if (certificate === null) throw missing(id)
    if (isTerminal(certificate.status))
      throw new AppError("invalid_state", `certificate ${id} is ${certificate.status}`)
    return certificate
  }

  /** Callers with an agent's own key get certificates of their own targets only. */
  const demandMapped = (isMapped: boolean, certificateId: string, agentId: string, actor: Actor): void => {
    if (actor.role === "agent" && !isMapped) {
      throw new AppError("not_found", `certificate ${certificateId} is not deployed to a target of agent ${agentId}`)
    }
  }
  const demandStillMapped = async (tx: Tx, certificateId: string, agentId: string, actor: Actor): Promise<void> =>
    demandMapped(await serving.isMapped(certificateId, agentId, tx), certificateId, agentId, actor)

  /** Signs in this process. null: the job was no longer waiting, and what was signed never left. */
  const signForJob = async (
    subject: Subject,
    job: JobRow,
    { connector }: OpenIssuer,
    { csr, csrPem, agentId, actor }: Submission,
  ): Promise<CsrOutcome | null> => {
    let version: VersionRow
    try {
      const issued = (await connector.issue(requestFor(subject, csrPem, job.id))) as Issued
      version = versionOf(subject, csr, csrPem, issued, agentId, null)
    } catch (error) {
      await fail(job, error, "renewal_job_failed", actor)
      throw error
    }
    return (await complete({ job, version, actor })) === null ? null : "csr_signed"
  }

  /** Answers for the CSR of a waiting job. null: the job was no longer waiting. */
  const serveJob = async (
    { subject, openIssuer }: Found,
    job: JobRow,
    submission: Submission,
  ): Promise<CsrOutcome | null> => {
    const { csr, csrPem, agentId, actor } = submission
    let issuer: OpenIssuer
    try {
      issuer = await openIssuer()
    } catch (error) {
      await fail(job, error, "renewal_job_failed", actor)
      throw error
    }
    if (issuer.inProcess) return signForJob(subject, job, issuer, submission)
    // Before the job says that the CA has it: one that is left alone for now costs no attempt.
    deps.gates.demandOpen(subject.certificate.issuerId)
    const running = await start(job, csr, csrPem, { agentId, attempts: Math.max(job.attempts, 1) }, actor)
    if (running === null) return null
    return issueWithin(subject, running, csr, csrPem, issuer, actor, null, true)
  }

  /** A CSR that no job waits for, signed in this process. */
  const signDirectly = async (
    subject: Subject,
    { connector }: OpenIssuer,
    { csr, csrPem, agentId, actor }: Submission,
  ): Promise<CsrOutcome> => {
    const { id } = subject.certificate
    const issued = (await connector.issue(requestFor(subject, csrPem, newId("req-")))) as Issued
    const version = versionOf(subject, csr, csrPem, issued, agentId, null)
    await db.transaction(async (tx) => {
      const certificate = demandManaged(await certificates.lock(tx, id), id)
      await demandStillMapped(tx, id, agentId, actor)
      // The same CSR twice at once: the first one to lock the certificate has stored it.
      const newest = await versions.newestOf(tx, id, agentId)
      if (newest !== null && isSameCsr(newest.csrPem, csr)) return
      await versions.insert(tx, version)
      await deps.deployments.afterIssuance(tx, version, null)
      await deps.news.issued(tx, (await lifecycle.settle(tx, id, "without a job")) ?? certificate)
      await audit.append(tx, {
        actor,
        action: "certificate_issued",
        resourceType: "certificate",
        resourceId: id,
        details: deps.completions.completedDetails(version),
      })
    })
    return "csr_signed"
  }

  /** An outside CA is never called without a job: what it signs must be found again after a crash. */
  const openJobFor = (subject: Subject, { agentId, actor }: Submission): Promise<void> =>
    db.transaction(async (tx) => {
      const { id } = subject.certificate
      demandManaged(await certificates.lock(tx, id), id)
      await demandStillMapped(tx, id, agentId, actor)
      const job = await queue.create(tx, {
        type: (await versions.exists(tx, id)) ? "Renewal" : "Issuance",
        certificateId: id,
        agentId,
        status: "AwaitingCSR",
        maxAttempts: subject.attempts,
        requestedBy: actorName(actor),
      })
      if (job === null) {
        // A retry that is about to wait for its CSR, or one whose other CSR is with the CA.
        throw new AppError("unavailable", `certificate ${id} is being issued for another CSR of agent ${agentId}`)
      }
      await lifecycle.settle(tx, id)
    })

  /** A CSR that must not be signed: the waiting job fails with it. */
  const rejectCsr = async (certificateId: string, job: JobRow | null, error: unknown, actor: Actor): Promise<never> => {
    if (job !== null) await fail(job, error, "csr_rejected", actor)
    else {
      await db.transaction((tx) =>
        audit.append(tx, {
          actor,
          action: "csr_rejected",
          resourceType: "certificate",
          resourceId: certificateId,
          details: { reason: error instanceof AppError ? error.message : "unreadable" },
        }),
      )
    }
    throw error
  }

  return {
    inHand: signing.inHand,
    fail,
    start,
    subjectOf,
    issueWithin,
    followOrder: signing.followOrder,

    /**
     * A CSR of an agent for a certificate it serves.
     * @throws AppError `not_found` unknown certificate, or not one of this agent; `invalid_state` revoked, archived, or to be
     *   approved first; `validation` a bad CSR, which also fails the waiting job; `upstream` the issuer failed;
     *   `unavailable` another CSR of the agent is with the CA
     */
    async submitCsr(
      { agentId, certificateId, csrPem }: { agentId: string; certificateId: string; csrPem: string },
      actor: Actor,
    ): Promise<CsrOutcome> {
      // Verified while the database is asked. Its failure is judged once it is known whose CSR it is.
      const reading = readCsr(csrPem)
      reading.catch(() => undefined)
      // Whoever loses a race looks again: the winner has left either a version or another waiting job.
      for (let round = 0; round < 5; round += 1) {
        const found = await lookUp({ certificateId, agentId })
        if (found === null) throw missing(certificateId)
        const certificate = demandManaged(found.certificate, certificateId)
        demandMapped(found.isMapped, certificateId, agentId, actor)
        const { subject, job } = found
        let csr: Csr
        try {
          csr = await reading
          checkCsr(csr, subject.rules)
        } catch (error) {
          return rejectCsr(certificateId, job, error, actor)
        }
        const submission: Submission = { csr, csrPem, agentId, actor }
        if (job !== null) {
          const outcome = await serveJob(found, job, submission)
          if (outcome !== null) return outcome
          continue
        }
        const running = await jobs.runningWithCsr(certificateId, agentId)
        if (running !== null && isSameCsr(running.csrPem, csr)) return "csr_accepted"
        const newest = await versions.newestOf(db.read, certificateId, agentId)
        if (newest !== null && isSameCsr(newest.csrPem, csr)) return "csr_signed"
        if (subject.needsApproval) {
          throw new AppError(
            "invalid_state",
            `profile ${certificate.certificateProfileId} requires an approved renewal`,
          )
        }
        const issuer = await found.openIssuer()
        if (issuer.inProcess) return signDirectly(subject, issuer, submission)
        await openJobFor(subject, submission)
      }
      throw new AppError("unavailable", `certificate ${certificateId} is changing too fast; send the CSR again`)
    },
  }
}

export type IssuanceService = ReturnType<typeof issuanceService>
