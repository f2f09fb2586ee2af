/** The states of an agent and every move between them. What is not listed is illegal. */
import type { AgentRow } from "./agent.store"

type AgentStatus = AgentRow["status"]
/** Retired is told by a time, not by the status. */
export type AgentState = AgentStatus | "Retired"

const moves: Readonly<Record<AgentState, readonly AgentState[]>> = {
  // Offline: not heard of for too long.
  Online: ["Offline", "Retired"],
  // Online: heard of again.
  Offline: ["Online", "Retired"],
  // Reserved: shown where something else has set it, never set by the server.
  Degraded: ["Online", "Retired"],
  Retired: [],
}

export const canMove = (from: AgentState, to: AgentState): boolean => moves[from].includes(to)

export const stateOf = ({ status, retiredAt }: Pick<AgentRow, "status" | "retiredAt">): AgentState =>
  retiredAt === null ? status : "Retired"

/** Statuses from which an agent may come into a state. */
export const statusesBefore = (to: AgentState): AgentStatus[] =>
  (["Online", "Offline", "Degraded"] as const).filter((from) => canMove(from, to))
