/** Agents and join tokens on the wire. */
import * as v from "valibot"
import { listParams, pagedListOf } from "../server/paging"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import type { TargetRow } from "../targets/target.store"
import type { AgentRow, JoinTokenRow } from "./agent.store"
import { AgentTarget } from "./agent-protocol.schema"
import { longestTtlSeconds } from "./join-token.service"

const agentEntries = {
  id: v.string(),
  name: v.string(),
  hostname: v.string(),
  status: v.picklist(["Online", "Offline", "Degraded"]),
  last_heartbeat_at: v.optional(WireTime),
  registered_at: WireTime,
  os: v.string(),
  architecture: v.string(),
  ip_address: v.string(),
  version: v.string(),
  retired_at: v.optional(WireTime),
  retired_reason: v.optional(v.string()),
}

export const AgentAnswer = v.pipe(v.object(agentEntries), v.metadata({ ref: "Agent" }))
export const AgentListAnswer = pagedListOf(AgentAnswer)

export const RegisteredAgentAnswer = v.pipe(
  v.object({
    ...agentEntries,
    api_key: v.pipe(v.string(), v.description("The agent's own key; shown this once")),
  }),
  v.metadata({ ref: "RegisteredAgent" }),
)

/** The key's hash never leaves the server. */
export const agentAnswer = (agent: AgentRow) =>
  withoutAbsent({
    id: agent.id,
    name: agent.name,
    hostname: agent.hostname,
    status: agent.status,
    last_heartbeat_at: optionalTime(agent.lastHeartbeatAt),
    registered_at: requiredTime(agent.registeredAt),
    os: agent.os,
    architecture: agent.architecture,
    ip_address: agent.ipAddress,
    version: agent.version,
    retired_at: optionalTime(agent.retiredAt),
    retired_reason: agent.retiredReason,
  })

const searched = listParams(["id", "name", "hostname", "ip_address", "os", "architecture", "version"])
export const AgentQuery = v.object({ status: v.optional(v.string()), ...searched })
export const RetiredAgentQuery = v.object(searched)

/** `force` counts as set only for the spellings of true; anything else is false. */
export const RetireQuery = v.object({
  force: v.optional(v.string()),
  reason: v.optional(v.pipe(v.string(), v.maxLength(1000)), ""),
})

export const isForced = (text: string | undefined): boolean =>
  ["1", "t", "T", "true", "TRUE", "True"].includes(text ?? "")

const Counts = v.object({
  active_targets: v.pipe(v.number(), v.integer()),
  active_certificates: v.pipe(v.number(), v.integer()),
  pending_jobs: v.pipe(v.number(), v.integer()),
})

export const RetirementAnswer = v.object({
  retired_at: WireTime,
  already_retired: v.boolean(),
  cascade: v.boolean(),
  counts: Counts,
})

export const JoinTokenBody = v.object({
  ttl_seconds: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(60, "must be at least 60"),
      v.maxValue(longestTtlSeconds, `must be at most ${longestTtlSeconds} (seven days)`),
    ),
  ),
})

export const AgentTargetListAnswer = pagedListOf(AgentTarget)
export const AgentTargetQuery = v.object(listParams(["id", "name", "type"]))

export const agentTargetAnswer = ({
  config,
  ...target
}: Pick<TargetRow, "id" | "name" | "type" | "enabled"> & { config: TargetRow["config"] | null }) =>
  withoutAbsent({ id: target.id, name: target.name, type: target.type, enabled: target.enabled, config })

const tokenEntries = {
  id: v.string(),
  created_by: v.string(),
  created_at: WireTime,
  expires_at: WireTime,
  used_at: v.optional(WireTime),
  agent_id: v.optional(v.string()),
}

export const JoinTokenAnswer = v.pipe(v.object(tokenEntries), v.metadata({ ref: "JoinToken" }))
export const JoinTokenListAnswer = pagedListOf(JoinTokenAnswer)
export const JoinTokenQuery = v.object(listParams(["id", "created_by", "agent_id"]))
export const NewJoinTokenAnswer = v.pipe(
  v.object({ ...tokenEntries, token: v.pipe(v.string(), v.description("Shown this once")) }),
  v.metadata({ ref: "NewJoinToken" }),
)

export const joinTokenAnswer = (token: JoinTokenRow) =>
  withoutAbsent({
    id: token.id,
    created_by: token.createdBy,
    created_at: requiredTime(token.createdAt),
    expires_at: requiredTime(token.expiresAt),
    used_at: optionalTime(token.usedAt),
    agent_id: token.agentId,
  })
