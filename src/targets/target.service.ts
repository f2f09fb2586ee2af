/** Targets: the places where certificates go, each reached by one agent. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import { parseConfig, secretKeysOf } from "../connectors/config"
import { redactConfig, type StoredConfig, unmaskConfig } from "../connectors/stored-config"
import { targetConnector } from "../connectors/targets/catalog"
import type { TargetDefinition } from "../connectors/targets/contract"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import { movedBetween } from "../health/connection-test.machine"
import type { Sealer } from "../secrets/sealing"
import type { AgentState, TargetRow, TargetStore } from "./target.store"

/** An agent not heard of for longer cannot be relied on. */
const freshHeartbeatMs = 5 * 60_000

export interface NewTarget {
  id?: string
  name: string
  type: string
  agentId: string
  config: StoredConfig
  enabled: boolean
}

export interface TargetPatch {
  name?: string
  type?: string
  agentId?: string
  /** Replaces the whole configuration; masked secrets keep their stored value. */
  config?: StoredConfig
  enabled?: boolean
}

export interface TestOutcome {
  readonly status: "success" | "failed"
  /** Empty when it went well. */
  readonly message: string
}

interface Deps {
  db: Pick<Db, "transaction">
  targets: TargetStore
  sealer: Sealer
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Called when other agents than before, or none, serve these certificates. */
  onServingChanged(tx: Tx, certificateIds: readonly string[]): Promise<void>
}

const notFound = (id: string) => new AppError("not_found", `target ${id} does not exist`)
const nameTaken = (name: string, id?: string) =>
  new AppError(
    "conflict",
    `a target with the name "${name}" on the same agent${id ? ` or with the id "${id}"` : ""} exists already`,
  )

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

export const targetService = ({ db, targets, sealer, audit, clock, onServingChanged }: Deps) => {
  const get = async (id: string): Promise<TargetRow> => {
    const target = await targets.get(id)
    if (target === null) throw notFound(id)
    return target
  }

  const fullConfig = async (row: TargetRow): Promise<StoredConfig> =>
    row.encryptedConfig === null
      ? row.config
      : ((await sealer.unsealJson(row.encryptedConfig, `configuration of target ${row.id}`)) as StoredConfig)

  const atRest = (definition: TargetDefinition, config: StoredConfig) => ({
    config: redactConfig(config, secretKeysOf(definition.config)),
    encryptedConfig: sealer.sealJson(config),
  })

  const demandAgent = async (tx: Tx, agentId: string): Promise<void> => {
    const agent = await targets.agentState(tx, agentId)
    if (agent === null)
      throw new AppError("bad_reference", `agent_id must be an existing agent; there is no ${agentId}`)
    if (agent.retiredAt !== null)
      throw new AppError("bad_reference", `agent_id must not be a retired agent (${agentId})`)
  }

  /** Columns of a changed configuration; throws `validation` when the connector would not take it. */
  const changedConfig = async (from: TargetRow, patch: TargetPatch) => {
    const definition = targetConnector(patch.type ?? from.type)
    const declared = secretKeysOf(definition.config)
    const stored = await fullConfig(from)
    const config = unmaskConfig(patch.config ?? redactConfig(stored, declared), stored, {
      // Another agent is another receiver: it would be handed the secrets.
      sameReceiver: definition.type === from.type && (patch.agentId ?? from.agentId) === from.agentId,
      declared,
    })
    parseConfig(definition.config, config)
    return { type: definition.type, ...atRest(definition, config) }
  }

  return {
    get,

    /** Newest first, retired ones included. `total` counts all targets that match. */
    async list(filter: TextFilter, slice: Slice) {
      const [rows, total] = await Promise.all([targets.list(filter, slice), targets.total(filter)])
      return { rows, total }
    },

    /** The configuration with its secrets, for the one agent that the target belongs to. */
    async fullConfig(id: string): Promise<StoredConfig> {
      return fullConfig(await get(id))
    },

    /** Fails with `validation` when the type is unknown or its connector does not take the configuration. */
    async create({ id, name, type, agentId, config, enabled }: NewTarget, actor: Actor): Promise<TargetRow> {
      const definition = targetConnector(type)
      const full = unmaskConfig(config, null, { sameReceiver: false, declared: secretKeysOf(definition.config) })
      parseConfig(definition.config, full)
      const now = clock.now()
      const row: TargetRow = {
        id: id ?? newId("tgt-"),
        name,
        type: definition.type,
        agentId,
        ...atRest(definition, full),
        enabled,
        lastTestedAt: null,
        testStatus: "untested",
        source: "database",
        retiredAt: null,
        retiredReason: null,
        createdAt: now,
        updatedAt: now,
      }
      return db.transaction(async (tx) => {
        await demandAgent(tx, agentId)
        const target = await targets.insert(tx, row)
        if (target === null) throw nameTaken(name, id)
        await audit.append(tx, { action: "create_target", actor, resourceType: "target", resourceId: target.id })
        return target
      })
    },

    /** Keys that are absent keep their value. */
    async update(id: string, patch: TargetPatch, actor: Actor): Promise<TargetRow> {
      const from = await get(id)
      const movesAgent = patch.agentId !== undefined && patch.agentId !== from.agentId
      const changesConfig =
        patch.config !== undefined || movesAgent || (patch.type !== undefined && patch.type !== from.type)
      const columns = changesConfig ? await changedConfig(from, patch) : {}
      return explainRefusals({ duplicate: () => nameTaken(patch.name ?? from.name) }, () =>
        db.transaction(async (tx) => {
          const mayChangeServing = movesAgent || patch.enabled !== undefined
          const certificateIds = mayChangeServing ? await targets.lockCertificates(tx, id) : []
          if (movesAgent && patch.agentId !== undefined) await demandAgent(tx, patch.agentId)
          const before = await targets.lock(tx, id)
          if (before === null) throw notFound(id)
          const values = {
            name: patch.name,
            agentId: patch.agentId,
            enabled: patch.enabled,
            ...columns,
            testStatus: "untested" as const,
            updatedAt: clock.now(),
          }
          const target = changesConfig
            ? await targets.replaceConfig(tx, from, values)
            : await targets.update(tx, id, values)
          if (target === null) {
            throw changesConfig
              ? new AppError("conflict", `target ${id} was changed by somebody else meanwhile; load it again`)
              : notFound(id)
          }
          if (movesAgent || patch.enabled !== undefined) {
            await onServingChanged(tx, certificateIds)
          }
          await audit.append(tx, {
            action: "update_target",
            actor,
            resourceType: "target",
            resourceId: id,
            details: { changed: Object.keys(patch), ...movedBetween(before.testStatus, "untested") },
          })
          return target
        }),
      )
    },

    /** Certificates are no longer deployed there; its jobs stay, without a target. */
    remove: (id: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const certificateIds = await targets.lockCertificates(tx, id)
        if (!(await targets.remove(tx, id))) throw notFound(id)
        await onServingChanged(tx, certificateIds)
        await audit.append(tx, { action: "delete_target", actor, resourceType: "target", resourceId: id })
      }),

    /** Whether the target's agent could deploy now. The outcome is recorded; the target's machine is not touched. */
    async test(id: string, actor: Actor): Promise<TestOutcome> {
      const now = clock.now()
      return db.transaction(async (tx) => {
        const before = await targets.lock(tx, id)
        if (before === null) throw notFound(id)
        const message = agentProblem(await targets.agentState(tx, before.agentId), now)
        const status = message === "" ? "success" : "failed"
        await targets.update(tx, id, { testStatus: status, lastTestedAt: now })
        const action = `target_test_connection_${status}`
        const details = movedBetween(before.testStatus, status)
        await audit.append(tx, { action, actor, resourceType: "target", resourceId: id, details })
        return { status, message }
      })
    },
  }
}

export type TargetService = ReturnType<typeof targetService>
