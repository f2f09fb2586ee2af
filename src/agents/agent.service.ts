/** Agents: registration, signs of life, retirement. */
import { createHash, randomBytes } from "node:crypto"
import { setImmediate as nextTurn } from "node:timers/promises"
import { type Actor, actorName, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { LifecycleService } from "../certificates/lifecycle.service"
import type { ServingStore } from "../certificates/serving.store"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { AppError } from "../errors"
import type { JobStore } from "../jobs/job.store"
import { type JobQueue, jobSignals } from "../jobs/job-queue.service"
import { canMove, stateOf, statusesBefore } from "./agent.machine"
import type { AgentFilter, AgentRow, AgentStore } from "./agent.store"
import type { JoinTokenService } from "./join-token.service"
import { sentinelAgentIds } from "./sentinel-agents"

interface Deps {
  db: Pick<Db, "transaction" | "signal">
  agents: AgentStore
  tokens: Pick<JoinTokenService, "spend">
  jobs: Pick<JobStore, "openOfAgent">
  queue: Pick<JobQueue, "move">
  serving: Pick<ServingStore, "certificatesOfAgent">
  lifecycle: Pick<LifecycleService, "afterJob" | "afterTargetsChanged" | "lockAll">
  audit: Pick<AuditService, "append">
  clock: Clock
}

/** What an agent says of its machine; empty and absent keep what is stored. */
export interface MachineFacts {
  hostname?: string
  os?: string
  architecture?: string
  ipAddress?: string
  version?: string
}

export interface DependencyCounts {
  active_targets: number
  active_certificates: number
  pending_jobs: number
}

export interface Retirement {
  retiredAt: Date
  cascade: boolean
  counts: DependencyCounts
}

/** Agents of one transaction: after an outage all are silent at once. */
const silentAtOnce = 100

const missing = (id: string) => new AppError("not_found", `agent ${id} does not exist`)
export const retiredAgent = (id: string) =>
  new AppError("gone", `agent ${id} was retired; it will not be served again and should stop`)

const given = (facts: MachineFacts): MachineFacts =>
  Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined && value !== ""))

export const agentKeyHash = (key: string): string => createHash("sha256").update(key).digest("hex")

export const agentService = (deps: Deps) => {
  const { db, agents, tokens, jobs, queue, serving, lifecycle, audit, clock } = deps

  const get = async (id: string): Promise<AgentRow> => {
    const agent = await agents.get(id)
    if (agent === null) throw missing(id)
    return agent
  }

  const cascade = async (tx: Tx, agent: AgentRow, at: Date, reason: string, actor: Actor): Promise<void> => {
    const certificateIds = await serving.certificatesOfAgent(tx, agent.id)
    await agents.retireTargets(tx, agent.id, at, reason)
    for (const job of await jobs.openOfAgent(tx, agent.id)) {
      const moved = await queue.move(tx, job, "Cancelled", {
        actor,
        action: "job_cancelled",
        set: { lastError: `agent ${agent.id} was retired: ${reason}` },
      })
      if (moved !== null) await lifecycle.afterJob(tx, moved)
    }
    for (const id of certificateIds) await lifecycle.afterTargetsChanged(tx, id)
  }

  return {
    /** Retired agents too. @throws AppError `not_found` */
    get,

    /** @throws AppError `not_found`; `gone` when it was retired */
    async getActive(id: string): Promise<AgentRow> {
      const agent = await get(id)
      if (agent.retiredAt !== null) throw retiredAgent(id)
      return agent
    },

    /** As `getActive`, for a request of the agent itself: what is known from its key need not be read again. */
    async demandActive(id: string, { agentId, isRetired }: Actor): Promise<void> {
      if (agentId !== id || isRetired === undefined) await this.getActive(id)
      else if (isRetired) throw retiredAgent(id)
    },

    /** As `getActive`, of an agent that asks for work; remembers whether it takes checks. */
    async polling(id: string, takesChecks: boolean): Promise<void> {
      const agent = await this.getActive(id)
      if (agent.takesChecks !== takesChecks) await db.transaction((tx) => agents.patch(tx, id, { takesChecks }))
    },

    async list(filter: AgentFilter, slice: Slice) {
      const [rows, total] = await Promise.all([agents.list(filter, slice), agents.total(filter)])
      return { rows, total }
    },

    async listRetired(filter: TextFilter, slice: Slice) {
      const [rows, total] = await Promise.all([agents.listRetired(filter, slice), agents.totalRetired(filter)])
      return { rows, total }
    },

    /** The agent behind its own key, retired ones included: those are told to stop. */
    findByKeyHash: (hash: string) => (hash === "" ? Promise.resolve(null) : agents.findByKeyHash(hash)),

    /**
     * Registers an agent and makes its key, which is only ever in this answer. A join token is spent in the same transaction.
     * @throws AppError `conflict` when an agent that is not retired has the name; `unauthenticated` when the token is spent
     */
    register: (
      { name, hostname, ...facts }: { name: string; hostname: string } & MachineFacts,
      actor: Actor,
    ): Promise<AgentRow & { apiKey: string }> =>
      db.transaction(async (tx) => {
        const now = clock.now()
        const apiKey = randomBytes(32).toString("base64url")
        const agent = await agents.insert(tx, {
          ...given(facts),
          id: newId("agent-"),
          name,
          hostname,
          status: "Online",
          lastHeartbeatAt: now,
          registeredAt: now,
          apiKeyHash: agentKeyHash(apiKey),
        })
        if (agent === null)
          throw new AppError("conflict", `an agent named "${name}" exists already; choose another name`)
        if (actor.joinTokenId !== undefined && !(await tokens.spend(tx, actor.joinTokenId, agent.id, now))) {
          throw new AppError("unauthenticated", "invalid_or_missing_bootstrap_token")
        }
        await audit.append(tx, {
          actor,
          action: "agent_registered",
          resourceType: "agent",
          resourceId: agent.id,
          details: { hostname, os: agent.os, architecture: agent.architecture, join_token: actor.joinTokenId ?? null },
        })
        return { ...agent, apiKey }
      }),

    /** A sign of life. @throws AppError `not_found`; `gone` when it was retired */
    heartbeat: (id: string, facts: MachineFacts): Promise<void> =>
      db.transaction(async (tx) => {
        const set = { ...given(facts), lastHeartbeatAt: clock.now() }
        // Nearly every one is of an agent that is Online: one statement, and nothing to tell.
        if (await agents.patchWhile(tx, id, "Online", set)) return
        const agent = await agents.lock(tx, id)
        if (agent === null) throw missing(id)
        const from = stateOf(agent)
        if (from === "Retired") throw retiredAgent(id)
        await agents.patch(tx, id, { ...set, status: "Online" })
        if (!canMove(from, "Online")) return
        await audit.append(tx, {
          actor: systemActor,
          action: "agent_online",
          resourceType: "agent",
          resourceId: id,
          details: { from, to: "Online", silent_since: agent.lastHeartbeatAt?.toISOString() ?? null },
        })
      }),

    /** Marks agents as offline that have been silent for longer than `silenceMs`. */
    async markSilent(silenceMs: number): Promise<string[]> {
      const silentSince = new Date(clock.now().getTime() - silenceMs)
      const markSome = () =>
        db.transaction(async (tx) => {
          const some = await agents.markSilent(tx, statusesBefore("Offline"), silentSince, silentAtOnce)
          await audit.append(
            tx,
            ...some.map((agent) => ({
              actor: systemActor,
              action: "agent_offline",
              resourceType: "agent",
              resourceId: agent.id,
              // The only state from which one becomes Offline by silence.
              details: {
                from: "Online",
                to: "Offline",
                last_heartbeat_at: agent.lastHeartbeatAt?.toISOString() ?? null,
              },
            })),
          )
          return some.map((agent) => agent.id)
        })
      const silent: string[] = []
      for (let isLast = false; !isLast; ) {
        const some = await markSome()
        silent.push(...some)
        isLast = some.length < silentAtOnce
        await nextTurn()
      }
      return silent
    },

    /**
     * Retires an agent for good. null: it was retired before.
     * @throws AppError `forbidden` built-in; `not_found`; `validation` force without a reason; `conflict` with the three
     *   counts in its body while something depends on it
     */
    retire: (
      id: string,
      { force, reason }: { force: boolean; reason: string },
      actor: Actor,
    ): Promise<Retirement | null> =>
      db.transaction(async (tx) => {
        if (sentinelAgentIds.includes(id))
          throw new AppError("forbidden", `agent ${id} is built in and cannot be retired`)
        if ((await agents.get(id, tx)) === null) throw missing(id)
        // Certificates come before everything else: whoever works on one holds it while adding jobs for the agent.
        await lifecycle.lockAll(tx, [
          ...(await serving.certificatesOfAgent(tx, id)),
          ...(await jobs.openOfAgent(tx, id)).flatMap((job) => job.certificateId ?? []),
        ])
        const agent = await agents.lock(tx, id)
        if (agent === null) throw missing(id)
        const from = stateOf(agent)
        if (!canMove(from, "Retired")) return null
        const targetIds = await agents.activeTargets(tx, id)
        const counts: DependencyCounts = {
          active_targets: targetIds.length,
          active_certificates: await agents.countCertificates(tx, targetIds),
          pending_jobs: (await jobs.openOfAgent(tx, id)).length,
        }
        if (force && reason.trim() === "") throw new AppError("validation", "reason is required when force is set")
        const isBlocked = Object.values(counts).some((n) => n > 0)
        if (!force && isBlocked) {
          throw new AppError(
            "conflict",
            `agent ${id} still has ${counts.active_targets} targets, ${counts.active_certificates} certificates and ${counts.pending_jobs} open jobs; move them, or retire with force and a reason`,
            { body: { error: "blocked_by_dependencies", counts } },
          )
        }
        const retiredAt = clock.now()
        await agents.patch(tx, id, { retiredAt, retiredReason: reason, status: "Offline" })
        // Its waiting poll is answered at once, so that its process ends.
        db.signal(tx, jobSignals.agent, id)
        if (isBlocked) await cascade(tx, agent, retiredAt, reason, actor)
        const details = { actor: actorName(actor), reason, force, ...counts }
        await audit.append(tx, {
          actor,
          action: "agent_retired",
          resourceType: "agent",
          resourceId: id,
          details: { ...details, from, to: "Retired" },
        })
        if (isBlocked) {
          await audit.append(tx, {
            actor,
            action: "agent_retirement_cascaded",
            resourceType: "agent",
            resourceId: id,
            details,
          })
        }
        return { retiredAt, cascade: isBlocked, counts }
      }),
  }
}

export type AgentService = ReturnType<typeof agentService>
