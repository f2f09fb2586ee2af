/** Agent groups: which agents may serve the certificates of a renewal policy. */
import type { Actor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError } from "../errors"
import type { AgentGroupRow, AgentGroupStore } from "./agent-group.store"
import { isMember } from "./group-membership"

type Settings = Omit<AgentGroupRow, "id" | "createdAt" | "updatedAt">

export type NewAgentGroup = Settings & { id?: string }
export type AgentGroupPatch = Partial<Settings>

interface Deps {
  db: Pick<Db, "transaction">
  groups: AgentGroupStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Called when other agents than before may serve the certificates of these renewal policies. */
  onServingChanged(tx: Tx, renewalPolicyIds: readonly string[]): Promise<void>
}

const notFound = (id: string) => new AppError("not_found", `agent group ${id} does not exist`)
const nameTaken = (name: string | undefined, id?: string) =>
  new AppError("conflict", `an agent group with the name "${name}"${id ? ` or the id "${id}"` : ""} exists already`)

const byName = (a: { name: string; id: string }, b: { name: string; id: string }): number =>
  a.name < b.name || (a.name === b.name && a.id < b.id) ? -1 : 1

export const agentGroupService = ({ db, groups, audit, clock, onServingChanged }: Deps) => {
  const get = async (id: string): Promise<AgentGroupRow> => {
    const group = await groups.get(id)
    if (group === null) throw notFound(id)
    return group
  }

  return {
    get,

    /** Newest first. `total` counts all groups that match. */
    async list(filter: TextFilter, slice: Slice) {
      const [rows, total] = await Promise.all([groups.list(filter, slice), groups.total(filter)])
      return { rows, total }
    },

    /** All agents that belong to the group now, by name. @throws AppError `not_found` */
    async members(id: string) {
      const group = await get(id)
      const rows = await groups.candidates(id)
      const belong = rows.filter(({ agent, explicit }) => isMember(agent, group, explicit))
      // Sorted here: the dialects order text differently.
      return belong.map(({ agent }) => agent).sort(byName)
    },

    /** How many agents belong to each of the groups now. */
    async memberCounts(rows: readonly AgentGroupRow[]): Promise<ReadonlyMap<string, number>> {
      if (rows.length === 0) return new Map()
      const { agents, explicit } = await groups.candidatesOf(rows.map(({ id }) => id))
      const memberships = new Map(explicit.map((row) => [`${row.agentGroupId} ${row.agentId}`, row.membershipType]))
      return new Map(
        rows.map((group) => [
          group.id,
          agents.filter((agent) => isMember(agent, group, memberships.get(`${group.id} ${agent.id}`) ?? null)).length,
        ]),
      )
    },

    /** Which of these agents belong to the group; none when there is no such group. */
    async memberIds(tx: Tx, groupId: string, agentIds: readonly string[]): Promise<Set<string>> {
      const group = await groups.get(groupId, tx)
      if (group === null) return new Set()
      const rows = await groups.candidatesAmong(tx, groupId, agentIds)
      const belong = rows.filter(({ agent, explicit }) => isMember(agent, group, explicit))
      return new Set(belong.map(({ agent }) => agent.id))
    },

    /** Fails with `conflict` when the name or the id is taken. */
    create: ({ id, ...settings }: NewAgentGroup, actor: Actor): Promise<AgentGroupRow> =>
      db.transaction(async (tx) => {
        const now = clock.now()
        const row = { ...settings, id: id ?? newId("ag-"), createdAt: now, updatedAt: now }
        const group = await groups.insert(tx, row)
        if (group === null) throw nameTaken(settings.name, id)
        await audit.append(tx, {
          action: "create_agent_group",
          actor,
          resourceType: "agent_group",
          resourceId: group.id,
        })
        return group
      }),

    /** Keys that are absent keep their value. @throws AppError `not_found`; `conflict` when another group has the name */
    update: (id: string, patch: AgentGroupPatch, actor: Actor): Promise<AgentGroupRow> =>
      explainRefusals({ duplicate: () => nameTaken(patch.name) }, () =>
        db.transaction(async (tx) => {
          const group = await groups.update(tx, id, { ...patch, updatedAt: clock.now() })
          if (group === null) throw notFound(id)
          const { name: _, description: __, ...criteria } = patch
          if (Object.keys(criteria).length > 0) await onServingChanged(tx, await groups.renewalPolicyIds(tx, id))
          await audit.append(tx, {
            action: "update_agent_group",
            actor,
            resourceType: "agent_group",
            resourceId: id,
            details: { changed: Object.keys(patch) },
          })
          return group
        }),
      ),

    /** Renewal policies that were restricted to it are so no longer. @throws AppError `not_found` */
    remove: (id: string, actor: Actor): Promise<void> =>
      db.transaction(async (tx) => {
        const policyIds = await groups.renewalPolicyIds(tx, id)
        if (!(await groups.remove(tx, id))) throw notFound(id)
        await onServingChanged(tx, policyIds)
        await audit.append(tx, {
          action: "delete_agent_group",
          actor,
          resourceType: "agent_group",
          resourceId: id,
          details: { renewal_policy_ids: policyIds },
        })
      }),
  }
}

export type AgentGroupService = ReturnType<typeof agentGroupService>
