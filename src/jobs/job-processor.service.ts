/**
 * The loops over jobs: works what the server works, retries what failed, gives up what waited too long, and puts right what
 * a crash left behind.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import { systemActor } from "../access/actor"
import { isTerminal } from "../certificates/certificate.machine"
import type { CertificateStore } from "../certificates/certificate.store"
import type { IssuanceService } from "../certificates/issuance.service"
import type { LifecycleService } from "../certificates/lifecycle.service"
import type { ServingStore } from "../certificates/serving.store"
import type { OpenIssuer } from "../certificates/signing.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { jobTypes } from "../db/tables/job.tables"
import type { IssuerGates } from "../issuers/issuer-gate"
import { buildCsr, parseCsr } from "../pki/csr"
import { generateKey, privateKeyPem } from "../pki/keys"
import type { RolloutService } from "../rollouts/rollout.service"
import type { RolloutRow } from "../rollouts/rollout.store"
import { isIssuing, type JobType } from "./job.machine"
import type { JobRow, JobStore } from "./job.store"
import type { JobQueue } from "./job-queue.service"

interface Deps {
  db: Pick<Db, "transaction">
  jobs: JobStore
  queue: Pick<JobQueue, "create" | "move" | "endRetries">
  certificates: Pick<CertificateStore, "get" | "lock" | "renewing">
  lifecycle: Pick<LifecycleService, "afterJob" | "afterMove" | "settle" | "servingAgents" | "reasonToEnd">
  issuance: Pick<IssuanceService, "fail" | "start" | "subjectOf" | "issueWithin" | "followOrder" | "inHand">
  openIssuer: (issuerId: string) => Promise<OpenIssuer>
  gates: Pick<IssuerGates, "demandOpen" | "isOpen">
  rollouts: Pick<RolloutService, "stillRunning" | "inNeed">
  serving: Pick<ServingStore, "placesOf">
  seal: (plain: Buffer) => Buffer
  clock: Clock
  serverId: string
  settings: {
    keygenMode: "agent" | "server"
    /** Jobs worked at once. */
    concurrency: number
    awaitingCsrMs: number
    awaitingApprovalMs: number
  }
  onRowError: (jobId: string, error: unknown) => void
}

const minuteMs = 60_000
const hourMs = 3_600_000
/** How long a check of a target may take; whoever asked for it has long gone. */
const checkPatienceMs = 600_000
/** How long an order may stay open at a CA. */
const orderPatienceMs = 168 * hourMs
/** An agent that was not heard of for so long is not deploying any more. */
const agentSilenceMs = 5 * minuteMs
const batchSize = 200
/** Of the loops that need no CA: together they share a commit on SQLite, and are few on PostgreSQL. */
const transactionsAtOnce = 8
/** How long a job whose processing broke off with an error is left alone, so that it keeps nobody else waiting. */
const brokenPauseMs = minuteMs

/** Runs `work` over all rows, `limit` at once; a row that fails stops nobody. */
const inParallel = async <R>(rows: readonly R[], limit: number, work: (row: R) => Promise<void>): Promise<void> => {
  const waiting = rows.values()
  await Promise.all(
    Array.from({ length: Math.min(limit, rows.length) }, async () => {
      for (const row of waiting) await work(row)
    }),
  )
}

export const jobProcessorService = (deps: Deps) => {
  const { db, jobs, queue, certificates, lifecycle, issuance, openIssuer, clock, settings } = deps

  const guarded =
    <R extends { id: string }>(work: (row: R) => Promise<unknown>) =>
    async (row: R) => {
      try {
        await work(row)
      } catch (error) {
        deps.onRowError(row.id, error)
      }
    }

  /** As `guarded`; the job comes back later, behind those that wait. */
  const guardedJob = (work: (job: JobRow) => Promise<void>) =>
    guarded(async (job: JobRow) => {
      try {
        await work(job)
      } catch (error) {
        const later = new Date(clock.now().getTime() + brokenPauseMs)
        await db.transaction((tx) => jobs.compareAndSet(tx, job, { scheduledAt: later, nextPollAt: later }))
        throw error
      }
    })

  /** Pending with an agent to make the key: offered to the agents of the set, one job each. */
  const offerToAgents = (job: JobRow & { certificateId: string }): Promise<void> =>
    db.transaction(async (tx) => {
      const certificate = await certificates.lock(tx, job.certificateId)
      if (certificate === null) return
      const agentIds = job.agentId === null ? await lifecycle.servingAgents(tx, job.certificateId) : [job.agentId]
      const busy = new Set(
        (await jobs.openOfCertificate(tx, job.certificateId))
          .filter((other) => isIssuing(other.type) && other.id !== job.id)
          .map((other) => other.agentId),
      )
      const [first, ...others] = agentIds.filter((agentId) => !busy.has(agentId))
      const needless = isTerminal(certificate.status)
        ? `the certificate is ${certificate.status}`
        : agentIds.length > 0 && first === undefined
          ? "every agent has a job of its own already"
          : null
      if (needless !== null) {
        const cancelled = await queue.move(tx, job, "Cancelled", {
          actor: systemActor,
          action: "job_cancelled",
          set: { lastError: needless },
        })
        if (cancelled !== null) await lifecycle.afterJob(tx, cancelled)
        return
      }
      const running = await queue.move(tx, job, "Running", {
        actor: systemActor,
        action: "renewal_job_started",
        set: { attempts: job.attempts + 1, startedAt: job.startedAt ?? clock.now() },
      })
      if (running === null) return
      // It was under way before, and so is now a job for each agent that serves the certificate: nothing follows from that.
      await queue.move(tx, running, "AwaitingCSR", {
        actor: systemActor,
        action: "renewal_awaiting_csr",
        details: { agent_id: first ?? null },
        // Without any agent it waits for one to be mapped.
        set: { agentId: first ?? null },
      })
      for (const agentId of others) {
        await queue.create(tx, {
          type: job.type,
          certificateId: job.certificateId,
          agentId,
          status: "AwaitingCSR",
          attempts: running.attempts,
          maxAttempts: job.maxAttempts,
          requestedBy: job.requestedBy,
          rolloutId: job.rolloutId,
        })
      }
    })

  /** Server key mode: the key is made here, kept sealed, and goes nowhere. */
  const issueWithOwnKey = async (job: JobRow & { certificateId: string }): Promise<void> => {
    const certificate = await certificates.get(job.certificateId)
    if (certificate === null) return
    deps.gates.demandOpen(certificate.issuerId)
    const subject = await issuance.subjectOf(certificate)
    const key = await generateKey("rsa-2048")
    const csrPem = buildCsr({ commonName: certificate.commonName, sans: certificate.sans, privateKey: key })
    const csr = parseCsr(csrPem)
    const running = await issuance.start(job, csr, csrPem, { agentId: null, attempts: job.attempts + 1 }, systemActor)
    if (running === null) return
    let issuer: OpenIssuer
    try {
      issuer = await openIssuer(certificate.issuerId)
    } catch (error) {
      return issuance.fail(running, error, "renewal_job_failed", systemActor)
    }
    await issuance.issueWithin(
      subject,
      running,
      csr,
      csrPem,
      issuer,
      systemActor,
      deps.seal(Buffer.from(privateKeyPem(key))),
      true,
    )
  }

  const processOne = guardedJob(async (job) => {
    if (job.type === "Deployment") {
      await db.transaction(async (tx) => {
        if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
        const failed = await queue.move(tx, job, "Failed", {
          actor: systemActor,
          action: "deployment_job_failed",
          set: { lastError: "its target is gone", maxAttempts: job.attempts },
        })
        if (failed !== null) await lifecycle.afterJob(tx, failed)
      })
      return
    }
    if (job.certificateId === null) return
    const work = settings.keygenMode === "agent" ? offerToAgents : issueWithOwnKey
    await work({ ...job, certificateId: job.certificateId })
  })

  /** An issuing job whose server died before anything was sent, or whose order is due to be asked about. */
  const recoverOne = guardedJob(async (job) => {
    if (issuance.inHand.has(job.id)) return
    if (job.orderId !== null) return issuance.followOrder(job)
    await db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const reason = await lifecycle.reasonToEnd(tx, job)
      const isSpent = job.attempts >= job.maxAttempts
      const to =
        reason !== null ? "Cancelled" : isSpent ? "Failed" : settings.keygenMode === "agent" ? "AwaitingCSR" : "Pending"
      const moved = await queue.move(tx, job, to, {
        actor: systemActor,
        action: "job_recovered",
        details: { lease_holder: job.leaseHolder },
        set:
          to === "Cancelled" || to === "Failed"
            ? { lastError: reason ?? "the server that worked on it stopped" }
            : // What goes back to Pending uses its next attempt when it is claimed.
              { attempts: to === "Pending" ? job.attempts : job.attempts + 1, csrPem: null },
      })
      if (moved !== null) await lifecycle.afterMove(tx, job, moved)
    })
  })

  const giveUp = (reason: string, ageMs: (job: JobRow) => number) =>
    guarded(async (job: JobRow) => {
      await db.transaction(async (tx) => {
        if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
        const hours = ageMs(job) / hourMs
        const attempts = Math.max(job.attempts, 1)
        const failed = await queue.move(tx, job, "Failed", {
          actor: systemActor,
          action: "job_timeout",
          details: { timeout_reason: reason, age_hours: hours, job_type: job.type },
          set: {
            lastError: `${reason}: ${job.status} for ${hours.toFixed(1)} hours`,
            attempts,
            // Nobody decided: that is an answer too, and asking again is up to the next renewal check.
            ...(reason === "approval_timeout" ? { maxAttempts: attempts } : {}),
          },
        })
        if (failed !== null) await lifecycle.afterJob(tx, failed)
      })
    })

  /** Whether a failed job must not come back: its place is gone, or taken by another. */
  const isPointless = async (tx: Tx, job: JobRow & { certificateId: string }): Promise<boolean> => {
    if ((await lifecycle.reasonToEnd(tx, job)) !== null) return true
    const open = isIssuing(job.type) ? await jobs.openOfCertificate(tx, job.certificateId) : []
    return open.some((other) => isIssuing(other.type) && other.agentId === job.agentId)
  }

  /** Whether the job was taken up again. */
  const tryAgain = (failed: JobRow): Promise<boolean> =>
    db.transaction(async (tx) => {
      const { certificateId } = failed
      if (certificateId === null) return false
      const certificate = await certificates.lock(tx, certificateId)
      if (certificate === null || isTerminal(certificate.status)) return false
      if (await isPointless(tx, { ...failed, certificateId })) {
        const ended = await queue.endRetries(tx, failed)
        if (ended !== null) await lifecycle.afterJob(tx, ended)
        return false
      }
      const moved = await queue.move(tx, failed, "Pending", {
        actor: systemActor,
        action: "job_retry",
        details: { attempts: failed.attempts, max_attempts: failed.maxAttempts },
        set: {
          lastError: null,
          scheduledAt: clock.now(),
          csrPem: null,
          orderId: null,
          nextPollAt: null,
          verificationStatus: "pending",
        },
      })
      if (moved !== null) await lifecycle.afterMove(tx, failed, moved)
      return moved !== null
    })

  /** Its agent is not deploying any more. */
  const failSilent = (job: JobRow): Promise<void> =>
    db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const failed = await queue.move(tx, job, "Failed", {
        actor: systemActor,
        action: "job_offline_agent_reap",
        details: { agent_id: job.agentId },
        set: { lastError: `agent offline: ${job.agentId} was not heard of for more than 5 minutes` },
      })
      if (failed !== null) await lifecycle.afterJob(tx, failed)
    })

  /** A check whose agent died, or whose server did before it could take the job back. */
  const failCheck = (job: JobRow): Promise<void> =>
    db.transaction(async (tx) => {
      await queue.move(tx, job, "Failed", {
        actor: systemActor,
        action: "job_timeout",
        details: { timeout_reason: "check_timeout" },
        set: { lastError: "its agent has not answered", attempts: Math.max(job.attempts, 1) },
      })
    })

  /** Failed jobs of a type whose pause is over. `shortestMs`: no policy has a shorter one, so what failed later is not even read. */
  const retryOfType = async (type: JobType, shortestMs: number, signal: AbortSignal): Promise<number> => {
    // A deployment has waited for its agent already.
    const pauseOf = (retryIntervalSeconds: number) => (type === "Deployment" ? 0 : retryIntervalSeconds * 1000)
    const failedBy = new Date(clock.now().getTime() - (type === "Deployment" ? 0 : shortestMs))
    let after: { completedAt: Date; id: string } | null = null
    let retried = 0
    while (!signal.aborted) {
      const rows: Awaited<ReturnType<JobStore["retryable"]>> = await jobs.retryable(type, failedBy, batchSize, after)
      const due = rows.filter(({ job, retryIntervalSeconds, issuerId }) => {
        // Its issuer is left alone for now: an attempt would be used up for nothing.
        if (isIssuing(job.type) && !deps.gates.isOpen(issuerId)) return false
        return (job.completedAt?.getTime() ?? 0) + pauseOf(retryIntervalSeconds) <= clock.now().getTime()
      })
      await inParallel(due, transactionsAtOnce, async ({ job }) => {
        await guarded(async (failed: JobRow) => {
          if (await tryAgain(failed)) retried += 1
        })(job)
      })
      const last = rows.at(-1)?.job
      if (rows.length < batchSize || last === undefined || last.completedAt === null) break
      after = { completedAt: last.completedAt, id: last.id }
      await nextTurn()
    }
    return retried
  }

  return {
    /** Ends what this server held before it died: called once at start, so that nobody waits for a lease to run out. */
    dropOwnLeases: () => db.transaction((tx) => jobs.dropLeases(tx, deps.serverId, clock.now())),

    async renewLeases(leaseMs: number): Promise<void> {
      const ids = [...issuance.inHand]
      if (ids.length === 0) return
      const until = new Date(clock.now().getTime() + leaseMs)
      await db.transaction((tx) => jobs.extendLeases(tx, ids, deps.serverId, until))
    },

    /** One pass of the job processor; goes on at once after a full batch. */
    async process(signal: AbortSignal): Promise<void> {
      const limit = Math.max(1, settings.concurrency)
      // What is only offered needs no CA, and must leave connections to those who ask meanwhile.
      const atOnce = settings.keygenMode === "agent" ? Math.min(limit, transactionsAtOnce) : limit
      const seen = new Set<string>()
      while (!signal.aborted) {
        const lapsed = await jobs.lapsed(clock.now(), batchSize)
        await inParallel(lapsed, limit, recoverOne)
        await nextTurn()
        const claimed = await jobs.claimable(clock.now(), limit * 4)
        await inParallel(claimed, atOnce, processOne)
        // Where nothing new turns up, another pass would do the same again.
        if (claimed.length < limit * 4 || claimed.every((job) => seen.has(job.id))) break
        for (const { id } of claimed) seen.add(id)
      }
    },

    /**
     * Finds roll-outs and certificates that nothing will wake up: waves whose patience is over, runs that ended in a crash. Those
     * that are as they should be cost no transaction.
     */
    async settleStragglers(signal: AbortSignal): Promise<void> {
      for (let after: { createdAt: Date; id: string } | null = null; !signal.aborted; ) {
        const page: RolloutRow[] = await deps.rollouts.stillRunning(after, batchSize)
        const places = await deps.serving.placesOf(page.map((row) => row.certificateId))
        for (const row of await deps.rollouts.inNeed(page, (id) => places.get(id) ?? [])) {
          if (signal.aborted) return
          const { id: rolloutId, certificateId } = row
          await guarded<{ id: string }>(() =>
            db.transaction((tx) =>
              lifecycle.afterJob(tx, { certificateId, rolloutId, type: "Deployment", status: "Running" }),
            ),
          )(row)
        }
        after = page.at(-1) ?? null
        if (page.length < batchSize) break
        await nextTurn()
      }
      for (let after: { createdAt: Date; id: string } | null = null; !signal.aborted; ) {
        const page: Awaited<ReturnType<CertificateStore["renewing"]>> = await certificates.renewing(after, batchSize)
        for (const row of page) {
          if (row.isIdle)
            await guarded<{ id: string }>(({ id }) => db.transaction((tx) => lifecycle.settle(tx, id)))(row)
        }
        after = page.at(-1) ?? null
        if (page.length < batchSize) break
        await nextTurn()
      }
    },

    /** One pass of the retry loop. Answers how many were taken up again. */
    async retry(signal: AbortSignal): Promise<number> {
      const shortestMs = (await jobs.shortestRetryInterval()) * 1000
      let retried = 0
      for (const type of jobTypes) retried += await retryOfType(type, shortestMs, signal)
      return retried
    },

    /** One pass of the timeout reaper. */
    async reap(signal = new AbortController().signal): Promise<void> {
      const now = clock.now()
      const since = (job: JobRow) => now.getTime() - job.statusSince.getTime()
      const before = (ms: number) => new Date(now.getTime() - ms)
      const { awaitingCsrMs, awaitingApprovalMs } = settings
      const arms: [() => Promise<JobRow[]>, (job: JobRow) => Promise<void>][] = [
        [() => jobs.waitingSince("AwaitingCSR", before(awaitingCsrMs), batchSize), giveUp("csr_timeout", since)],
        [
          () => jobs.waitingSince("AwaitingApproval", before(awaitingApprovalMs), batchSize),
          giveUp("approval_timeout", since),
        ],
        [() => jobs.staleChecks(before(checkPatienceMs), batchSize), guarded(failCheck)],
        [() => jobs.ordersOlderThan(before(orderPatienceMs), batchSize), giveUp("order_timeout", since)],
        [
          async () => (await jobs.deploymentsOfSilentAgents(before(agentSilenceMs), batchSize)).map(({ job }) => job),
          guarded(failSilent),
        ],
      ]
      for (const [find, end] of arms) {
        // What was ended is not found again; what could not be is left to the next pass.
        const seen = new Set<string>()
        while (!signal.aborted) {
          const rows = (await find()).filter(({ id }) => !seen.has(id))
          if (rows.length === 0) break
          for (const { id } of rows) seen.add(id)
          await inParallel(rows, transactionsAtOnce, end)
          await nextTurn()
        }
      }
    },
  }
}

export type JobProcessor = ReturnType<typeof jobProcessorService>
