/**
 * The test of a target. What the server knows by itself is whether the target's agent could be reached; where the agent takes
 * checks, it runs the connector's own on its host, as a Validation job, and its words are the outcome.
 */
import { type Actor, actorName, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { AppError } from "../errors"
import { movedBetween } from "../health/connection-test.machine"
import type { JobRow, JobStore } from "../jobs/job.store"
import type { JobQueue } from "../jobs/job-queue.service"
import type { AgentState, TargetStore } from "./target.store"

export interface TestOutcome {
  readonly status: "success" | "failed"
  /** Empty when it went well. */
  readonly message: string
}

interface Deps {
  db: Pick<Db, "transaction" | "signal" | "onSignal">
  targets: Pick<TargetStore, "lock" | "update" | "agentState">
  jobs: Pick<JobStore, "get">
  queue: Pick<JobQueue, "create" | "move">
  audit: Pick<AuditService, "append">
  clock: Clock
  /** How long somebody waits for the agent's words; and how long for its taking the job. */
  readonly patience?: { readonly answerMs: number; readonly claimMs: number }
}

/** An agent not heard of for longer cannot be relied on. */
const freshHeartbeatMs = 5 * 60_000
/** A signal may be lost with its connection. */
const lookAgainMs = 1000
/** Payload: the job. */
const checkedTopic = "targets.checked"

const agentProblem = (agent: AgentState | null, now: Date): string => {
  if (agent === null) return "its agent does not exist"
  const { name, status, lastHeartbeatAt, retiredAt } = agent
  if (retiredAt !== null) return `its agent ${name} was retired on ${retiredAt.toISOString()}`
  if (lastHeartbeatAt === null) return `its agent ${name} has never been heard of`
  const lastSeen = `last heard of on ${lastHeartbeatAt.toISOString()}`
  if (status !== "Online") return `its agent ${name} is ${status}, ${lastSeen}`
  if (now.getTime() - lastHeartbeatAt.getTime() > freshHeartbeatMs) return `its agent ${name} is silent, ${lastSeen}`
  return ""
}

const outcomeOf = (message: string): TestOutcome => ({ status: message === "" ? "success" : "failed", message })

export const targetCheckService = (deps: Deps) => {
  const { db, targets, jobs, queue, audit, clock } = deps
  const { answerMs, claimMs } = deps.patience ?? { answerMs: 20_000, claimMs: 5_000 }

  /** Keeps an outcome with its target. Nothing to keep where the target is gone. */
  const record = async (
    tx: Tx,
    targetId: string,
    outcome: TestOutcome,
    actor: Actor,
    jobId?: string,
  ): Promise<void> => {
    const before = await targets.lock(tx, targetId)
    if (before === null) return
    await targets.update(tx, targetId, { testStatus: outcome.status, lastTestedAt: clock.now() })
    await audit.append(tx, {
      action: `target_test_connection_${outcome.status}`,
      actor,
      resourceType: "target",
      resourceId: targetId,
      details: {
        ...movedBetween(before.testStatus, outcome.status),
        ...(outcome.message === "" ? {} : { message: outcome.message }),
        ...(jobId === undefined ? {} : { job_id: jobId }),
      },
    })
  }

  /** The outcome where the server can tell it alone, else the job that the agent is to do. */
  const begin = (id: string, actor: Actor): Promise<TestOutcome | JobRow> =>
    db.transaction(async (tx) => {
      const target = await targets.lock(tx, id)
      if (target === null) throw new AppError("not_found", `target ${id} does not exist`)
      const agent = await targets.agentState(tx, target.agentId)
      const message = agentProblem(agent, clock.now())
      const job =
        message === "" && agent?.takesChecks === true
          ? await queue.create(tx, {
              type: "Validation",
              certificateId: null,
              targetId: id,
              agentId: target.agentId,
              status: "Pending",
              maxAttempts: 1,
              requestedBy: actorName(actor),
            })
          : null
      if (job !== null) return job
      await record(tx, id, outcomeOf(message), actor)
      return outcomeOf(message)
    })

  /** Ends the job from our side, unless the agent was faster. */
  const giveUp = (job: JobRow, targetId: string, message: string, actor: Actor): Promise<TestOutcome | null> =>
    db.transaction(async (tx) => {
      if (job.status === "Pending") {
        const set = { lastError: message }
        const moved = await queue.move(tx, job, "Cancelled", { actor: systemActor, action: "job_cancelled", set })
        if (moved === null) return null
      }
      await record(tx, targetId, outcomeOf(message), actor, job.id)
      return outcomeOf(message)
    })

  const answerTo = async (job: JobRow, targetId: string, actor: Actor): Promise<TestOutcome> => {
    const started = performance.now()
    let wake = () => {}
    const stopListening = db.onSignal(checkedTopic, (jobId) => {
      if (jobId === job.id) wake()
    })
    try {
      for (;;) {
        const heard = new Promise<void>((resolve) => {
          wake = resolve
        })
        const now = await jobs.get(job.id)
        if (now === null) return outcomeOf("its job was removed")
        if (now.status === "Completed") return outcomeOf("")
        if (now.status === "Failed" || now.status === "Cancelled")
          return outcomeOf(now.lastError ?? "no reason was given")
        const waitedMs = performance.now() - started
        const givenUp =
          now.status === "Pending" && waitedMs >= claimMs
            ? await giveUp(
                now,
                targetId,
                `its agent is Online, but has not taken the check within ${claimMs / 1000} s`,
                actor,
              )
            : waitedMs >= answerMs
              ? await giveUp(
                  now,
                  targetId,
                  `its agent has not answered within ${answerMs / 1000} s; what it finds is kept with the target`,
                  actor,
                )
              : null
        if (givenUp !== null) return givenUp
        const timer = setTimeout(wake, lookAgainMs)
        await heard
        clearTimeout(timer)
      }
    } finally {
      stopListening()
    }
  }

  return {
    /** Whether the target's agent could deploy now, in its own words where it takes checks. The outcome is kept with the target. */
    async test(id: string, actor: Actor): Promise<TestOutcome> {
      const begun = await begin(id, actor)
      return "id" in begun ? answerTo(begun, id, actor) : begun
    },

    /** What an agent has reported of a check; the job has moved already. */
    async reported(tx: Tx, job: JobRow, actor: Actor): Promise<void> {
      if (job.targetId !== null) {
        await record(
          tx,
          job.targetId,
          outcomeOf(job.status === "Completed" ? "" : (job.lastError ?? "no reason was given")),
          actor,
          job.id,
        )
      }
      db.signal(tx, checkedTopic, job.id)
    },
  }
}

export type TargetCheckService = ReturnType<typeof targetCheckService>
