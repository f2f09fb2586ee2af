/**
 * What a CA is asked, and what becomes of its answer. A CA outside this process is only called for a job that carries the
 * intent (lease, CSR), so that what a dead server left behind can be reconciled; what it has signed is always stored.
 */
import { type Actor, systemActor } from "../access/actor"
import type { Clock } from "../clock"
import type { Issued, IssueRequest, Issuer, Ordered, OrderStatus } from "../connectors/issuers/contract"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { AppError, messageOf } from "../errors"
import type { IssuerGates } from "../issuers/issuer-gate"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import { parseCertificate } from "../pki/certificate"
import { type Csr, parseCsr } from "../pki/csr"
import { isTerminal } from "./certificate.machine"
import type { CertificateRow, CertificateStore } from "./certificate.store"
import type { CompletionService } from "./completion.service"
import { checkLifetime, type IssuanceRules, isShortLived } from "./csr-rules"
import type { LifecycleService } from "./lifecycle.service"
import type { VersionRow } from "./version.store"

/** An issuer ready to be asked. */
export interface OpenIssuer {
  readonly connector: Issuer
  /** Its `issue` has no effect outside this process. */
  readonly inProcess: boolean
}

export interface SigningDeps {
  db: Pick<Db, "transaction" | "read">
  certificates: CertificateStore
  jobs: JobStore
  queue: Pick<JobQueue, "move">
  lifecycle: Pick<LifecycleService, "afterMove" | "renewAtOf">
  completions: Pick<CompletionService, "complete" | "completedDetails">
  openIssuer: (issuerId: string) => Promise<OpenIssuer>
  gates: Pick<IssuerGates, "ask" | "demandOpen">
  clock: Clock
  /** Identifies this server in leases. */
  serverId: string
  /** How long a caller waits for the CA before it is told that the answer comes later, in milliseconds. */
  answerWithinMs?: number
  onBackgroundError: (jobId: string, error: unknown) => void
}

export type CsrOutcome = "csr_signed" | "csr_accepted"

/** How often the database is asked to keep what a CA has signed, whatever it says. */
const storeAttempts = 5
/** For how long it is asked while it is away or too busy: the job's lease is renewed meanwhile. */
const storePatienceMs = 600_000
const longestStorePauseMs = 5_000
/** How long a server may be silent before its jobs are given to others. */
export const leaseMs = 120_000
/** First pause before an open order is asked about again; later ones grow with its age, up to five minutes. */
const orderPollMs = 5_000
const longestOrderPollMs = 300_000
/** How long a CA may take to say what became of an order. */
const statusCallMs = 60_000

/** A certificate with the rules by which it is issued. */
export interface Subject {
  readonly certificate: CertificateRow
  readonly rules: IssuanceRules
  readonly windowDays: number
  readonly attempts: number
  readonly needsApproval: boolean
}

/** `subjectOf`, of a caller that has read the rules. */
export const subjectBy = (
  certificate: CertificateRow,
  { policy, profile }: Awaited<ReturnType<CertificateStore["rules"]>>,
): Subject => ({
  certificate,
  rules: { commonName: certificate.commonName, sans: certificate.sans, profile },
  windowDays: policy?.renewalWindowDays ?? 30,
  attempts: Math.max(1, policy?.maxRetries ?? 3),
  needsApproval: profile?.requiresApproval === true,
})

const asOrdered = (result: Issued | Ordered): Ordered | null => ("certPem" in result ? null : result)

const normalChain = (certPem: string, chainPem: string): string =>
  `${[certPem, chainPem]
    .map((pem) => pem.trim())
    .filter((pem) => pem !== "")
    .join("\n")}\n`

export const signingService = (deps: SigningDeps) => {
  const { db, certificates, jobs, queue, lifecycle, openIssuer, gates, clock, answerWithinMs = 20_000 } = deps
  const { complete } = deps.completions
  /** Jobs whose CA call runs in this process: their leases are renewed. */
  const inHand = new Set<string>()

  const subjectOf = async (certificate: CertificateRow): Promise<Subject> =>
    subjectBy(certificate, await certificates.rules(db.read, certificate))

  const requestFor = ({ certificate, rules }: Subject, csrPem: string, idempotencyKey: string): IssueRequest => ({
    csrPem,
    commonName: certificate.commonName,
    sans: certificate.sans,
    ekus: rules.profile?.allowedEkus ?? [],
    maxTtlSeconds: rules.profile?.maxTtlSeconds ?? 0,
    mustStaple: rules.profile?.mustStaple ?? false,
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
    const facts = issued.facts ?? parseCertificate(issued.certPem)
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
      if (failed !== null) await lifecycle.afterMove(tx, job, failed)
    })

  /** What a CA has done is written down even where the database is away for a moment: it must not be asked a second time. */
  const surely = async (write: () => Promise<unknown>): Promise<void> => {
    const until = performance.now() + storePatienceMs
    for (let attempt = 1; ; attempt += 1) {
      try {
        await write()
        return
      } catch (error) {
        const mayPass = error instanceof AppError && error.retryable && performance.now() < until
        if (attempt >= storeAttempts && !mayPass) throw error
        await Bun.sleep(Math.min(200 * attempt, longestStorePauseMs))
      }
    }
  }

  const recordOrder = (running: JobRow, orderId: string): Promise<void> =>
    db.transaction(async (tx) => {
      const now = clock.now()
      await jobs.compareAndSet(tx, running, {
        orderId,
        nextPollAt: new Date(now.getTime() + orderPollMs),
        // From here on the order is the claim: any server may ask about it.
        leaseHolder: null,
        leaseUntil: now,
        lastError: `waiting for CA, order ${orderId}`,
      })
    })

  /**
   * The two-step way: intent, call, result. Resolves when the CA has decided, or when it has taken an order. Whoever has called
   * `demandOpen` before the intent was written is admitted: that the CA is busy by now costs no attempt.
   */
  const issueOutside = async (
    subject: Subject,
    running: JobRow,
    csr: Csr,
    csrPem: string,
    issuer: OpenIssuer,
    actor: Actor,
    sealedKey: Buffer | null,
    isAdmitted = false,
  ): Promise<CsrOutcome> => {
    inHand.add(running.id)
    /** Signed after the call was given up, and the job with it: recorded, so that it can be revoked. */
    const keepLate = (result: Issued | Ordered): void => {
      if (asOrdered(result) !== null) return
      const store = async () => {
        const version = versionOf(subject, csr, csrPem, result as Issued, running.agentId, sealedKey)
        await surely(() => complete({ job: running, version, actor }))
      }
      store().catch((error: unknown) => deps.onBackgroundError(running.id, error))
    }
    try {
      let done: Ordered | VersionRow
      try {
        const issue = () => issuer.connector.issue(requestFor(subject, csrPem, running.id))
        const result = issuer.inProcess
          ? await issue()
          : await gates.ask(subject.certificate.issuerId, issue, { onLate: keepLate, isAdmitted })
        const ordered = asOrdered(result)
        if (ordered !== null && sealedKey !== null) {
          throw new AppError("not_supported", "the issuer decides later, and the server does not keep a key that long")
        }
        done = ordered ?? versionOf(subject, csr, csrPem, result as Issued, running.agentId, sealedKey)
      } catch (error) {
        await fail(running, error, "renewal_job_failed", actor)
        throw error instanceof AppError ? error : new AppError("upstream", messageOf(error), { cause: error })
      }
      // Where writing fails for good, the job is left to its lease: it has not failed, and is not done.
      if ("pemChain" in done) {
        const version = done
        await surely(() => complete({ job: running, version, actor }))
        return "csr_signed"
      }
      const { orderId } = done
      await surely(() => recordOrder(running, orderId))
      return "csr_accepted"
    } finally {
      inHand.delete(running.id)
    }
  }

  /** `issueOutside`, for a caller that does not wait for ever: the work goes on without it. */
  const issueWithin = (...given: Parameters<typeof issueOutside>): Promise<CsrOutcome> => {
    const [, running] = given
    const work = issueOutside(...given)
    const { promise: late, resolve } = Promise.withResolvers<CsrOutcome>()
    const timer = setTimeout(() => {
      // From here on nobody awaits the call any more; its failure is on the job.
      work.catch((error) => deps.onBackgroundError(running.id, error))
      resolve("csr_accepted")
    }, answerWithinMs)
    return Promise.race([work, late]).finally(() => clearTimeout(timer))
  }

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
      if (running !== null) await lifecycle.afterMove(tx, job, running)
      return running
    })

  /** Asks the CA about an open order and finishes the job when it has decided. */
  const followOrder = async (job: JobRow): Promise<void> => {
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
    const { orderStatus } = connector
    const ask = () => orderStatus.call(connector, orderId)
    const asked = gates.ask(certificate.issuerId, ask, { mostMs: statusCallMs })
    const status: OrderStatus = await asked.catch((error) => ({
      // The CA could not be reached: the order is still there, and asked about again.
      state: "pending",
      message: messageOf(error),
    }))
    if (status.state === "failed") {
      const reason = new AppError("upstream", status.message ?? `order ${orderId} failed`)
      return fail(job, reason, "renewal_job_failed", systemActor)
    }
    if (status.state === "completed" && status.certPem !== undefined) {
      const issued = { certPem: status.certPem, chainPem: status.chainPem ?? "", orderId }
      let version: VersionRow
      try {
        version = versionOf(subject, parseCsr(csrPem), csrPem, issued, job.agentId, null)
      } catch (error) {
        return fail(job, error, "renewal_job_failed", systemActor)
      }
      return surely(() => complete({ job, version, actor: systemActor }))
    }
    const now = clock.now()
    const waitedMs = now.getTime() - job.statusSince.getTime()
    await db.transaction((tx) =>
      jobs.compareAndSet(tx, job, {
        nextPollAt: new Date(now.getTime() + Math.min(Math.max(orderPollMs, waitedMs / 2), longestOrderPollMs)),
        lastError: status.message ?? `waiting for CA, order ${orderId}`,
      }),
    )
  }

  return {
    inHand,
    subjectOf,
    requestFor,
    versionOf,
    complete,
    fail,
    start,
    issueOutside,
    issueWithin,
    followOrder,
  }
}
