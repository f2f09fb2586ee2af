/**
 * Who is behind a request: a Bearer key, the cookie of a session, or a token that allows one registration of an agent. The rate
 * limiter asks first (its buckets are named after the caller), the authentication middleware decides.
 */
import type { Context } from "hono"
import type { ApiEnv, SessionFacts } from "../server/operation"
import { kindOfPath } from "../server/path-kinds"
import { type Actor, anonymousActor } from "./actor"
import type { ApiKeyService } from "./api-key.service"
import type { SessionService } from "./session.service"
import type { SessionCookie } from "./session-cookie"

export type Identity =
  | {
      /** `off`: authentication is off. */
      readonly via: "key" | "session" | "registration" | "off"
      readonly actor: Actor
      readonly session?: SessionFacts
    }
  | {
      readonly via: null
      /** For the caller. */
      readonly reason: string
    }

/** What lets an agent register without an operator's key. */
export interface Registration {
  /** A bootstrap token is configured: keys and sessions do not register agents then. */
  readonly exclusive: boolean
  /** The actor of a bootstrap token or of an unused join token; null for anything else. Must not use the token up. */
  check(token: string): Promise<Actor | null>
}

interface Deps {
  readonly mode: "api-key" | "none"
  readonly keys: Pick<ApiKeyService, "holderOf" | "holderOfHash">
  readonly sessions: Pick<SessionService, "find">
  readonly cookie: SessionCookie
  readonly registration: Registration | null
}

const scheme = "Bearer "
const refused = (reason: string): Identity => ({ via: null, reason })
const badRegistration = refused("invalid_or_missing_bootstrap_token")

export const authentication = ({ mode, keys, sessions, cookie, registration }: Deps) => {
  const known = new WeakMap<Request, Promise<Identity>>()

  const bySession = async (c: Context<ApiEnv>, otherwise: string, isActivity: boolean): Promise<Identity> => {
    const token = cookie.read(c)
    if (token === undefined || token === "") return refused(otherwise)
    const found = await sessions.find(token, isActivity)
    return found === null ? refused("Session expired") : { via: "session", ...found }
  }

  const byHeader = async (header: string): Promise<Identity> => {
    if (!header.startsWith(scheme)) return refused("Invalid Authorization header: expected Bearer <key>")
    const holder = await keys.holderOf(header.slice(scheme.length))
    return holder === null ? refused("Invalid API key") : { via: "key", actor: holder.actor }
  }

  const caller = async (c: Context<ApiEnv>, isActivity = true): Promise<Identity> => {
    if (mode === "none") return { via: "off", actor: anonymousActor }
    const header = c.req.header("authorization")
    if (kindOfPath(c.req.path) === "console") return bySession(c, "not signed in", isActivity)
    return header === undefined ? bySession(c, "Missing Authorization header", isActivity) : byHeader(header)
  }

  const registering = async (c: Context<ApiEnv>, allowed: Registration): Promise<Identity> => {
    const header = c.req.header("authorization") ?? ""
    const actor = header.startsWith(scheme) ? await allowed.check(header.slice(scheme.length)) : null
    if (actor !== null) return { via: "registration", actor }
    if (allowed.exclusive) return badRegistration
    const identity = await caller(c)
    return identity.via === null ? badRegistration : identity
  }

  const look = (c: Context<ApiEnv>): Promise<Identity> =>
    registration !== null && c.req.method === "POST" && c.req.path === "/api/v1/agents"
      ? registering(c, registration)
      : caller(c)

  return {
    mode,

    /** Looked up once per request. Fails when the database does. */
    identify(c: Context<ApiEnv>): Promise<Identity> {
      const former = known.get(c.req.raw)
      if (former !== undefined) return former
      const identity = look(c)
      known.set(c.req.raw, identity)
      return identity
    },

    /** Whether the credentials of the request would still let the same actor in. */
    async isStillAllowed(c: Context<ApiEnv>, actor: Actor): Promise<boolean> {
      const now = await caller(c, false)
      return now.via !== null && now.actor.name === actor.name && now.actor.role === actor.role
    },
  }
}

export type Authentication = ReturnType<typeof authentication>
