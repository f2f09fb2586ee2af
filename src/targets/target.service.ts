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
import { type DeploymentWindows, longestShutMs, nextOpening } from "../rollouts/deployment-window"
import type { Sealer } from "../secrets/sealing"
import type { TargetRow, TargetStore } from "./target.store"

export interface NewTarget {
  id?: string
  name: string
  type: string
  agentId: string
  config: StoredConfig
  enabled: boolean
  deploymentWindows: DeploymentWindows | null
}

export interface TargetPatch {
  name?: string
  type?: string
  agentId?: string
  /** Replaces the whole configuration; masked secrets keep their stored value. */
  config?: StoredConfig
  enabled?: boolean
  /** null: deployments may begin at any time. */
  deploymentWindows?: DeploymentWindows | null
}

interface Deps {
  db: Pick<Db, "transaction" | "signal">
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

/** Signalled when the windows of a target have changed, so that nobody waits for the next look at what they hold back. */
export const windowsTopic = "targets.windows"

/**
 * Windows have to leave room for every certificate that goes there: they open before the present one expires, and again within the
 * time between its renewal and its end. Fails with `validation`, naming a certificate for which they do not.
 */
const demandInTime = (
  windows: DeploymentWindows,
  certificates: readonly { id: string; expiresAt: Date | null; renewAt: Date | null }[],
  now: Date,
): void => {
  const opens = nextOpening(windows, now)
  const shutMs = longestShutMs(windows)
  for (const { id, expiresAt, renewAt } of certificates) {
    // What has expired already is late in any case.
    if (expiresAt === null || expiresAt <= now) continue
    if (opens === null || opens >= expiresAt) {
      throw new AppError(
        "validation",
        `deployment_windows can never be met for certificate ${id}: it expires at ${expiresAt.toISOString()}, before they open (${opens?.toISOString() ?? "never"})`,
      )
    }
    if (renewAt !== null && shutMs > expiresAt.getTime() - renewAt.getTime()) {
      throw new AppError(
        "validation",
        `deployment_windows must open more often: they stay shut for up to ${hours(shutMs)} hours, and certificate ${id} is renewed ${hours(expiresAt.getTime() - renewAt.getTime())} hours before it expires`,
      )
    }
  }
}

const hours = (milliseconds: number): number => Math.round(milliseconds / 3_600_000)

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

    /** Type and configuration with its secrets, for the one agent that the target belongs to. */
    async whole(id: string): Promise<{ type: string; config: StoredConfig }> {
      const target = await get(id)
      return { type: target.type, config: await fullConfig(target) }
    },

    /** Fails with `validation` when the type is unknown or its connector does not take the configuration. */
    async create(
      { id, name, type, agentId, config, enabled, deploymentWindows }: NewTarget,
      actor: Actor,
    ): Promise<TargetRow> {
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
        deploymentWindows,
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
          const locked =
            mayChangeServing || patch.deploymentWindows !== undefined ? await targets.lockCertificates(tx, id) : []
          const certificateIds = locked.map((certificate) => certificate.id)
          if (patch.deploymentWindows) demandInTime(patch.deploymentWindows, locked, clock.now())
          if (movesAgent && patch.agentId !== undefined) await demandAgent(tx, patch.agentId)
          const before = await targets.lock(tx, id)
          if (before === null) throw notFound(id)
          const values = {
            name: patch.name,
            agentId: patch.agentId,
            enabled: patch.enabled,
            deploymentWindows: patch.deploymentWindows,
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
          if (mayChangeServing) await onServingChanged(tx, certificateIds)
          if (patch.deploymentWindows !== undefined) db.signal(tx, windowsTopic)
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
        const certificateIds = (await targets.lockCertificates(tx, id)).map((certificate) => certificate.id)
        if (!(await targets.remove(tx, id))) throw notFound(id)
        await onServingChanged(tx, certificateIds)
        await audit.append(tx, { action: "delete_target", actor, resourceType: "target", resourceId: id })
      }),
  }
}

export type TargetService = ReturnType<typeof targetService>
