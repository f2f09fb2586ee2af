/** What an agent is handed: deployments it claims by asking, and certificates it is to make keys for. */
import { type Actor, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { CertificateStore } from "../certificates/certificate.store"
import type { LifecycleService } from "../certificates/lifecycle.service"
import type { ServingStore } from "../certificates/serving.store"
import type { VersionStore } from "../certificates/version.store"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import type { Slice, TextFilter } from "../db/listing"
import type { KeyRule } from "../db/tables/issuance.tables"
import { AppError } from "../errors"
import type { JobRow, JobStore } from "../jobs/job.store"
import { type JobQueue, jobSignals } from "../jobs/job-queue.service"
import { splitChain } from "../pki/certificate"
import { type WindowsOf, windowHoldOf } from "../rollouts/deployment-window"
import type { TargetRow, TargetStore } from "../targets/target.store"
import { maxHoldingJobs, maxWaitSeconds, type WorkItem } from "./agent-protocol.schema"

interface Deps {
  db: Pick<Db, "transaction" | "read" | "onSignal">
  jobs: JobStore
  queue: Pick<JobQueue, "move" | "hold">
  certificates: Pick<CertificateStore, "lock">
  versions: VersionStore
  serving: Pick<ServingStore, "isMapped">
  lifecycle: Pick<LifecycleService, "afterJob" | "reasonToEnd">
  windowsOf: WindowsOf
  targetRows: Pick<TargetStore, "listOfAgent" | "totalOfAgent">
  /** Type and decrypted configuration of a target; null when it is gone. */
  targetFor: (targetId: string) => Promise<{ type: string; config: Record<string, unknown> } | null>
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Told of what one job or target fails with, which is not to stop the others. */
  onRowError: (id: string, error: unknown) => void
}

/** Most jobs in one answer: what is left comes with the next poll. */
const answerSize = 50
/** A running deployment of an old agent, which does not say what it holds, counts as lost after this time. */
const silenceMs = 5 * 60_000

export interface Poll {
  readonly waitSeconds: number
  /** Jobs the agent works on. null: it does not say. */
  readonly holding: readonly string[] | null
}

/** Reads the query of a poll; numbers out of range and anything unreadable count as not asked. */
export const readPoll = ({ wait, holding }: { wait?: string; holding?: string }): Poll => ({
  waitSeconds: /^\d{1,2}$/.test(wait ?? "") ? Math.min(Number(wait), maxWaitSeconds) : 0,
  holding:
    holding === undefined
      ? null
      : holding
          .split(",")
          .map((id) => id.trim())
          .filter((id) => id !== "")
          .slice(0, maxHoldingJobs),
})

/** Sizes that agents make keys of. */
const keySizes = {
  ECDSA: [256, 384, 521],
  RSA: [2048, 3072, 4096],
} as const

/**
 * The first kind of key among a profile's rules that agents can make. Absent where the profile has no opinion: it has no rules, or
 * allows the smallest key of both common kinds, as every profile does whose rules were never touched.
 */
export const keyWish = (rules: readonly KeyRule[]): Pick<WorkItem, "key_algorithm"> => {
  const allows = (algorithm: KeyRule["algorithm"], size: number) =>
    rules.some((rule) => rule.algorithm === algorithm && rule.min_size <= size)
  if (allows("ECDSA", 256) && allows("RSA", 2048)) return {}
  for (const { algorithm, min_size } of rules) {
    if (algorithm === "Ed25519") return { key_algorithm: algorithm }
    const size = keySizes[algorithm].find((known) => known >= min_size)
    if (size !== undefined) return { key_algorithm: `${algorithm}-${algorithm === "ECDSA" ? "P" : ""}${size}` }
  }
  return {}
}

export const workService = (deps: Deps) => {
  const { db, jobs, queue, certificates, versions, serving, lifecycle, audit, clock } = deps

  const isLost = (job: JobRow, { holding }: Poll): boolean =>
    holding !== null
      ? !holding.includes(job.id)
      : clock.now().getTime() - (job.startedAt ?? job.statusSince).getTime() > silenceMs &&
        clock.now().getTime() - job.statusSince.getTime() > silenceMs

  /** Claims one pending deployment or check. One transaction each: locks of several certificates are never held together. */
  const claim = (job: JobRow, agentId: string): Promise<JobRow | null> =>
    db.transaction((tx) =>
      queue.move(tx, job, "Running", {
        actor: systemActor,
        action: job.type === "Validation" ? "validation_job_dispatched" : "deployment_job_dispatched",
        details: { agent_id: agentId, target_id: job.targetId, attempt: job.attempts + 1 },
        set: { attempts: job.attempts + 1, agentId, startedAt: job.startedAt ?? clock.now(), lastError: null },
        onlyUnheld: true,
      }),
    )

  /** A deployment whose agent process died: handed out again, or failed when its attempts are used up. */
  const handOutAgain = (job: JobRow, agentId: string): Promise<JobRow | null> =>
    db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const reason = await lifecycle.reasonToEnd(tx, job)
      if (reason !== null) {
        const cancelled = await queue.move(tx, job, "Cancelled", {
          actor: systemActor,
          action: "job_cancelled",
          details: { agent_id: agentId },
          set: { lastError: reason },
        })
        if (cancelled !== null) await lifecycle.afterJob(tx, cancelled)
        return null
      }
      if (job.attempts >= job.maxAttempts) {
        const failed = await queue.move(tx, job, "Failed", {
          actor: systemActor,
          action: "deployment_job_failed",
          details: { agent_id: agentId },
          set: { lastError: `the agent lost the job ${job.attempts} times without a report` },
        })
        if (failed !== null) await lifecycle.afterJob(tx, failed)
        return null
      }
      const now = clock.now()
      const again = await jobs.compareAndSet(tx, job, {
        attempts: job.attempts + 1,
        statusSince: now,
        verificationStatus: "pending",
      })
      if (again !== null) {
        await audit.append(tx, {
          actor: systemActor,
          action: "deployment_job_dispatched",
          resourceType: "job",
          resourceId: job.id,
          details: { agent_id: agentId, target_id: job.targetId, attempt: again.attempts, again: true },
        })
      }
      return again
    })

  /** null: the target or the version is gone, and the job cannot be done any more. */
  const deploymentItem = async (job: JobRow): Promise<WorkItem | null> => {
    const target = job.targetId === null ? null : await deps.targetFor(job.targetId)
    const version = job.versionId === null ? null : await versions.get(job.versionId)
    if (target === null || (job.certificateId === null && job.type !== "Validation")) return null
    return {
      id: job.id,
      type: job.type,
      certificate_id: job.certificateId ?? "",
      target_id: job.targetId ?? "",
      target_type: target.type,
      target_config: target.config,
      status: "Running",
      ...(version === null ? {} : { version_id: version.id, fingerprint_sha256: version.fingerprintSha256 }),
    }
  }

  const failItem = (job: JobRow, reason: string): Promise<void> =>
    db.transaction(async (tx) => {
      if (job.certificateId !== null) await certificates.lock(tx, job.certificateId)
      const failed = await queue.move(tx, job, "Failed", {
        actor: systemActor,
        action: "deployment_job_failed",
        set: { lastError: reason },
      })
      if (failed !== null) await lifecycle.afterJob(tx, failed)
    })

  const collect = async (agentId: string, poll: Poll): Promise<WorkItem[]> => {
    // Mostly nobody has anything for it, which one small query tells.
    const open = await jobs.openWork(db.read, agentId)
    if (!open.ofAgent && !open.ofNobody) return []
    const held = new Set(poll.holding ?? [])
    const handed: JobRow[] = []
    for (const job of open.ofAgent ? await jobs.runningDeployments(db.read, agentId) : []) {
      if (!isLost(job, poll)) continue
      const again = await handOutAgain(job, agentId)
      if (again !== null) handed.push(again)
    }
    const room = Math.max(answerSize - handed.length, 0)
    const claimable = await jobs.claimableDeployments(db.read, agentId, open, clock.now(), room)
    const windows =
      claimable.length === 0
        ? new Map<string, never>()
        : await deps.windowsOf(
            db.read,
            claimable.flatMap((job) => job.targetId ?? []),
          )
    for (const job of claimable) {
      // It waited for its agent, or for another attempt, until the windows had shut.
      const hold = windowHoldOf(job, windows.get(job.targetId ?? ""), clock.now())
      if (hold !== null) {
        await db.transaction((tx) => queue.hold(tx, job, hold))
        continue
      }
      const claimed = await claim(job, agentId)
      if (claimed !== null) handed.push(claimed)
    }
    // Agents that do not say what they hold know nothing of checks, and would leave them lying.
    for (const job of poll.holding === null ? [] : await jobs.claimableChecks(db.read, agentId, room)) {
      const claimed = await claim(job, agentId)
      if (claimed !== null) handed.push(claimed)
    }
    const items: WorkItem[] = []
    for (const job of handed.toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime())) {
      try {
        const item = await deploymentItem(job)
        if (item === null) await failItem(job, "its target is gone")
        else items.push(item)
      } catch (error) {
        // One target whose configuration cannot be opened must not keep the agent from its other work.
        deps.onRowError(job.id, error)
        await failItem(job, "the configuration of its target cannot be opened")
      }
    }
    for (const { job, commonName, sans, keyRules } of await jobs.offeredCsrJobs(db.read, agentId, open, answerSize)) {
      if (held.has(job.id) || job.certificateId === null) continue
      items.push({
        id: job.id,
        type: job.type,
        certificate_id: job.certificateId,
        common_name: commonName,
        sans,
        status: "AwaitingCSR",
        ...keyWish(keyRules ?? []),
      })
    }
    return items
  }

  /** Polls that wait, by agent. */
  const waiting = new Map<string, Set<() => void>>()
  const wake = (agentId: string) => {
    const woken =
      agentId === "" ? [...waiting.values()].flatMap((polls) => [...polls]) : [...(waiting.get(agentId) ?? [])]
    for (const resolve of woken) resolve()
  }
  const stopListening = db.onSignal(jobSignals.agent, wake)
  let isClosed = false

  return {
    /**
     * The targets of an agent that are not retired. The agent itself gets each configuration as it would with work; for anybody else
     * secrets are masked. `config` is null when it cannot be opened.
     */
    async targetsOf(agentId: string, filter: TextFilter, slice: Slice, { role, agentId: asking }: Actor) {
      const isItself = role === "agent" && asking === agentId
      const whole = async (row: TargetRow): Promise<TargetRow["config"] | null> => {
        try {
          return (await deps.targetFor(row.id))?.config ?? null
        } catch (error) {
          deps.onRowError(row.id, error)
          return null
        }
      }
      const [rows, total] = await Promise.all([
        deps.targetRows.listOfAgent(agentId, filter, slice),
        deps.targetRows.totalOfAgent(agentId, filter),
      ])
      const shown: (Pick<TargetRow, "id" | "name" | "type" | "enabled" | "createdAt"> & {
        config: TargetRow["config"] | null
      })[] = []
      for (const row of rows) shown.push({ ...row, config: isItself ? await whole(row) : row.config })
      return { rows: shown, total }
    },

    /**
     * The work of an agent. Waits for some when asked to; what is claimed is claimed when the answer is ready, so a poll that
     * was given up has claimed nothing.
     * @param demandActive throws when the agent may not have work any more; asked again whenever the poll is woken
     * @param gone aborts when the agent has hung up or the server stops
     */
    async poll(
      agentId: string,
      poll: Poll,
      gone: AbortSignal,
      demandActive?: () => Promise<unknown>,
    ): Promise<WorkItem[]> {
      const deadline = performance.now() + poll.waitSeconds * 1000
      for (;;) {
        if (gone.aborted) return []
        let wakeUp = () => {}
        const woken = new Promise<void>((resolve) => {
          wakeUp = resolve
        })
        // Subscribed before looking: work that turns up in between is not missed.
        const polls = waiting.get(agentId) ?? new Set()
        polls.add(wakeUp)
        waiting.set(agentId, polls)
        let timer: ReturnType<typeof setTimeout> | undefined
        try {
          await demandActive?.()
          const items = await collect(agentId, poll)
          const leftMs = deadline - performance.now()
          if (items.length > 0 || leftMs <= 0 || isClosed || gone.aborted) return items
          gone.addEventListener("abort", wakeUp, { once: true })
          timer = setTimeout(wakeUp, leftMs)
          await woken
        } finally {
          clearTimeout(timer)
          gone.removeEventListener("abort", wakeUp)
          polls.delete(wakeUp)
          if (polls.size === 0 && waiting.get(agentId) === polls) waiting.delete(agentId)
        }
      }
    },

    /**
     * The chain that an agent deploys: the named version, or its newest.
     * @throws AppError `not_found` nothing issued, not a version of this agent's key, or not mapped to it
     */
    async certificateFor(agentId: string, certificateId: string, versionId: string | undefined, actor: Actor) {
      const missing = new AppError("not_found", `there is no certificate ${certificateId} for agent ${agentId}`)
      if (!(await serving.isMapped(certificateId, agentId))) throw missing
      const named = versionId === undefined ? null : await versions.get(versionId)
      if (named !== null && (named.certificateId !== certificateId || (named.agentId ?? agentId) !== agentId))
        throw missing
      const version =
        versionId !== undefined
          ? named
          : ((await versions.newestOf(db.read, certificateId, agentId)) ??
            (await versions.newestOf(db.read, certificateId, null)))
      if (version === null) throw missing
      const { leafPem, chainPem } = splitChain(version.pemChain)
      await db.transaction((tx) =>
        audit.append(tx, {
          actor,
          action: "certificate_retrieved",
          resourceType: "certificate",
          resourceId: certificateId,
          details: { agent_id: agentId, version_id: version.id, serial: version.serialNumber },
        }),
      )
      return `${leafPem.trim()}\n${chainPem.trim()}`.trim()
    },

    /** Answers every waiting poll, for shutdown. */
    close(): void {
      isClosed = true
      stopListening()
      wake("")
    },
  }
}

export type WorkService = ReturnType<typeof workService>
