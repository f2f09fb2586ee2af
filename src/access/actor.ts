/** Who does something: resolved once per request, carried to every service, written into every audit event. */

/**
 * `admin` all, `operator` all but the admin-gated routes, `viewer` reads, `agent` its own routes only, `none` is everybody when
 * authentication is off.
 */
export type ActorRole = "admin" | "operator" | "viewer" | "agent" | "none"

export interface Actor {
  /** Key name, agent id, or `system`; empty when authentication is off. */
  readonly name: string
  readonly type: "User" | "System" | "Agent"
  readonly role: ActorRole
  /** The agent behind an agent's own key. */
  readonly agentId?: string
  /** Whether that agent was retired when the key was looked up. */
  readonly isRetired?: boolean
  /** The join token that allowed this one registration; registering uses it up in its own transaction. */
  readonly joinTokenId?: string
}

/** The scheduler and everything else that the server does by itself. */
export const systemActor: Actor = { name: "system", type: "System", role: "admin" }

/** Everybody, when authentication is off. */
export const anonymousActor: Actor = { name: "", type: "User", role: "none" }

/** The name that audit events, `requested_by` and the like carry: never empty. */
export const actorName = (actor: Actor): string => (actor.name === "" ? "api" : actor.name)
