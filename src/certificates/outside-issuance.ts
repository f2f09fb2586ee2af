/**
 * How a CA outside this process is asked: within bounds of time and number, for a job that carries the intent, and again about its
 * order where it decides later. What it has signed is always stored.
 */
import { type Actor, systemActor } from "../access/actor"
import type { Issued, IssueRequest, Ordered, OrderStatus } from "../connectors/issuers/contract"
import { AppError, messageOf } from "../errors"
import type { JobRow } from "../jobs/job.store"
import { type Csr, parseCsr } from "../pki/csr"
import type { CertificateRow } from "./certificate.store"
import type { CsrOutcome, OpenIssuer, SigningDeps, Subject } from "./signing.service"
import type { VersionRow } from "./version.store"

interface Deps
  extends Pick<
    SigningDeps,
    "db" | "certificates" | "jobs" | "gates" | "openIssuer" | "clock" | "answerWithinMs" | "onBackgroundError"
  > {
  subjectOf(certificate: CertificateRow): Promise<Subject>
  requestFor(subject: Subject, csrPem: string, idempotencyKey: string): IssueRequest
  versionOf(
    subject: Subject,
    csr: Csr,
    csrPem: string,
    issued: Issued,
    agentId: string | null,
    encryptedKey: Buffer | null,
  ): VersionRow
  complete(job: JobRow, version: VersionRow, actor: Actor): Promise<JobRow | null>
  fail(job: JobRow, error: unknown, action: string, actor: Actor): Promise<void>
}

/** How often the database is asked to keep what a CA has signed. */
const storeAttempts = 5
/** First pause before an open order is asked about again; later ones grow with its age, up to five minutes. */
const orderPollMs = 5_000
const longestOrderPollMs = 300_000
/** How long a CA may take to say what became of an order. */
const statusCallMs = 60_000

const asOrdered = (result: Issued | Ordered): Ordered | null => ("certPem" in result ? null : result)

export const outsideIssuance = (deps: Deps) => {
  const { db, certificates, jobs, gates, openIssuer, clock, answerWithinMs = 20_000 } = deps
  const { subjectOf, requestFor, versionOf, complete, fail } = deps
  /** Jobs whose CA call runs in this process: their leases are renewed. */
  const inHand = new Set<string>()

  /** What a CA has done is written down even where the database is away for a moment: it must not be asked a second time. */
  const surely = async (write: () => Promise<unknown>): Promise<void> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await write()
        return
      } catch (error) {
        if (attempt === storeAttempts) throw error
        await Bun.sleep(200 * attempt)
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
    /** Signed after the call was given up, and the job with it: recorded, so that it can be revoked. */
    const keepLate = (result: Issued | Ordered): void => {
      if (asOrdered(result) !== null) return
      const store = async () => {
        const version = versionOf(subject, csr, csrPem, result as Issued, running.agentId, sealedKey)
        await surely(() => complete(running, version, actor))
      }
      store().catch((error: unknown) => deps.onBackgroundError(running.id, error))
    }
    try {
      let done: Ordered | VersionRow
      try {
        const issue = () => issuer.connector.issue(requestFor(subject, csrPem, running.id))
        const result = issuer.inProcess
          ? await issue()
          : await gates.ask(subject.certificate.issuerId, issue, { onLate: keepLate })
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
        await surely(() => complete(running, version, actor))
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
      return surely(() => complete(job, version, systemActor))
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

  return { inHand, issueOutside, issueWithin, followOrder }
}
