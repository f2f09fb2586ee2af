/** Who belongs to an agent group. Pure, so that whoever has the rows can ask without another query. */
import { sentinelAgentIds } from "../agents/sentinel-agents"
import { parseRange, rangeContains } from "./address-range"

/** What a group asks of an agent; an empty text asks nothing. */
export interface GroupCriteria {
  readonly enabled: boolean
  readonly matchOs: string
  readonly matchArchitecture: string
  readonly matchVersion: string
  /** CIDR, or one address. */
  readonly matchIpCidr: string
}

/** What of an agent a group looks at. */
export interface GroupCandidate {
  readonly id: string
  readonly os: string
  readonly architecture: string
  readonly version: string
  readonly ipAddress: string
  readonly retiredAt: Date | null
}

const isInRange = (cidr: string, address: string): boolean => {
  const range = parseRange(cidr)
  return range !== null && rangeContains(range, address)
}

const matches = (agent: GroupCandidate, group: GroupCriteria): boolean => {
  const { matchOs, matchArchitecture, matchVersion, matchIpCidr } = group
  // Without any criterion a group has its explicit members only.
  if (matchOs + matchArchitecture + matchVersion + matchIpCidr === "") return false
  return (
    (matchOs === "" || matchOs === agent.os) &&
    (matchArchitecture === "" || matchArchitecture === agent.architecture) &&
    (matchVersion === "" || matchVersion === agent.version) &&
    (matchIpCidr === "" || isInRange(matchIpCidr, agent.ipAddress))
  )
}

/**
 * @param explicit the agent's own row in the group, which beats the criteria; null: it has none
 */
export const isMember = (
  agent: GroupCandidate,
  group: GroupCriteria,
  explicit: "include" | "exclude" | null,
): boolean => {
  if (!group.enabled || agent.retiredAt !== null || sentinelAgentIds.includes(agent.id)) return false
  return explicit === null ? matches(agent, group) : explicit === "include"
}
