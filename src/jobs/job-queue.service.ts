/**
 * The one place that changes a job's state. Every move is checked against the table of moves, is compare-and-set, and
 * writes its audit event in the caller's transaction. What a change means for the certificate and its roll-out is decided
 * by the callers.
 */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import { canMove, isIssuing, type JobStatus } from "./job.machine"
import type { JobRow, JobStore, NewJob } from "./job.store"

interface Deps {
  db: Pick<Db, "signal">
  jobs: JobStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Hears of every job that has changed its state, in the transaction of the change. */
  onMoved?: (tx: Tx, job: JobRow, how: { from: JobStatus; actor: Actor }) => Promise<void>
}

/** Signals that something may be done now, so that nobody has to wait for a tick. */
export const jobSignals = {
  /** The job processor has work. */
  processor: "jobs.processor",
  /** Payload: the agent that has work; empty when any agent may. */
  agent: "jobs.agent",
} as const

/** Longest error kept with a job. */
const maxErrorLength = 2000

export interface MoveOptions {
  actor: Actor
  /** Audit action; the event carries the job's type, certificate and the two states. */
  action: string
  details?: Record<string, unknown>
  set?: Partial<NewJob>
  /** Only while nothing holds the job back. */
  onlyUnheld?: boolean
}

/** A job that an agent's certificate ends. */
export interface CompletedJob {
  readonly job: JobRow
  readonly actor: Actor
  readonly action: string
  readonly details: Record<string, unknown>
  readonly set: Pick<JobRow, "agentId" | "versionId">
}

export const jobQueueService = ({ db, jobs, audit, clock, onMoved }: Deps) => {
  const demandMove = (job: Pick<JobRow, "id" | "status">, to: JobStatus): void => {
    if (!canMove(job.status, to)) throw new AppError("internal", `job ${job.id} cannot go from ${job.status} to ${to}`)
  }

  const eventOf = (moved: JobRow, from: JobStatus, { actor, action, details }: Omit<MoveOptions, "set">) => ({
    actor,
    action,
    resourceType: "job",
    resourceId: moved.id,
    details: { job_type: moved.type, certificate_id: moved.certificateId, from, to: moved.status, ...details },
  })

  const announce = (tx: Tx, job: JobRow) => {
    if (job.status === "Pending" && (isIssuing(job.type) || job.agentId === null)) {
      db.signal(tx, jobSignals.processor)
    } else if (job.status === "AwaitingCSR" || (job.status === "Pending" && job.hold === null)) {
      db.signal(tx, jobSignals.agent, job.agentId ?? "")
    }
  }

  return {
    /** null when an open issuing job of the same certificate and agent exists already. */
    async create(
      tx: Tx,
      job: Pick<NewJob, "type" | "certificateId"> & Partial<Omit<NewJob, "id" | "createdAt">>,
    ): Promise<JobRow | null> {
      const now = clock.now()
      const created = await jobs.insert(tx, {
        scheduledAt: now,
        statusSince: now,
        ...job,
        id: newId("job-"),
        createdAt: now,
      })
      if (created !== null) announce(tx, created)
      return created
    },

    /** As `create`, of several; in their order, without those that could not be made. */
    async createAll(
      tx: Tx,
      wanted: readonly (Pick<NewJob, "type" | "certificateId"> & Partial<Omit<NewJob, "id" | "createdAt">>)[],
    ): Promise<JobRow[]> {
      const now = clock.now()
      const created = await jobs.insertAll(
        tx,
        wanted.map((job) => ({ scheduledAt: now, statusSince: now, ...job, id: newId("job-"), createdAt: now })),
      )
      for (const job of created) announce(tx, job)
      return created
    },

    /**
     * Moves a job. null when it is no longer as it was seen: somebody else was first.
     * Fails with `internal` when the table of moves does not allow it.
     */
    async move(
      tx: Tx,
      job: Pick<JobRow, "id" | "status" | "attempts">,
      to: JobStatus,
      { actor, action, details, set, onlyUnheld }: MoveOptions,
    ): Promise<JobRow | null> {
      demandMove(job, to)
      const now = clock.now()
      const ended = to === "Completed" || to === "Failed" || to === "Cancelled"
      const columns: Partial<NewJob> = {
        status: to,
        statusSince: now,
        completedAt: ended ? now : null,
        // A lease and a waiting reason belong to one state only.
        ...(to === "Running" ? {} : { leaseUntil: null, leaseHolder: null }),
        ...(to === "Pending" || to === "AwaitingCSR" ? {} : { hold: null }),
        ...set,
        ...(typeof set?.lastError === "string" ? { lastError: set.lastError.slice(0, maxErrorLength) } : {}),
      }
      const moved = await jobs.compareAndSet(tx, job, columns, { onlyUnheld })
      if (moved === null) return null
      await audit.append(tx, eventOf(moved, job.status, { actor, action, details }))
      announce(tx, moved)
      await onMoved?.(tx, moved, { from: job.status, actor })
      return moved
    },

    /** `move` to Completed, of several, in their order: all of them, or an error. */
    async completeAll(tx: Tx, ended: readonly CompletedJob[]): Promise<JobRow[]> {
      const now = clock.now()
      const moves = ended.map(({ job, set, ...how }) => {
        demandMove(job, "Completed")
        const row: JobRow = {
          ...job,
          ...set,
          status: "Completed",
          // One that never ran has used its first attempt all the same.
          attempts: Math.max(job.attempts, 1),
          lastError: null,
          hold: null,
          statusSince: now,
          completedAt: now,
          leaseUntil: null,
          leaseHolder: null,
        }
        return { row, from: job.status, seen: { status: job.status, attempts: job.attempts }, how }
      })
      const changed = await jobs.changeEach(
        tx,
        moves.map(({ row, seen }) => ({ id: row.id, set: row, seen })),
      )
      if (changed < moves.length) throw new AppError("conflict", "a job has changed while its certificate was locked")
      for (const { row, from, how } of moves) {
        await audit.append(tx, eventOf(row, from, how))
        await onMoved?.(tx, row, { from, actor: how.actor })
      }
      return moves.map(({ row }) => row)
    },

    /** Takes the hold off a waiting job. */
    async release(tx: Tx, job: JobRow): Promise<void> {
      const released = await jobs.compareAndSet(tx, job, { hold: null })
      if (released !== null) announce(tx, released)
    },

    /** Holds a waiting job back, unless an agent has just claimed it. */
    hold: (tx: Tx, job: JobRow, reason: string): Promise<JobRow | null> =>
      jobs.compareAndSet(tx, job, { hold: reason }),

    /** Tells the agents that a key is asked for. */
    announceCsrJob: announce,

    /** A Failed job is not taken up again. */
    endRetries: (tx: Tx, job: JobRow): Promise<JobRow | null> =>
      jobs.compareAndSet(tx, job, { maxAttempts: job.attempts }),
  }
}

export type JobQueue = ReturnType<typeof jobQueueService>
