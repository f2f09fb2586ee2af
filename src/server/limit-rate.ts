/** The middleware in front of the token buckets: whose bucket a request takes from. */
import type { Context, MiddlewareHandler } from "hono"
import type { Authentication } from "../access/authentication"
import { bareError } from "./error-answers"
import type { ApiEnv } from "./operation"
import { isRateLimited, kindOfPath } from "./path-kinds"
import type { RateLimit, RateLimiter } from "./rate-limit"

export interface RateLimits {
  /** For addresses without a valid key. */
  readonly address: RateLimit
  /** For callers with a valid key or session. */
  readonly caller: RateLimit
}

/** An agent reports many certificates at once; it is one of thousands and still bounded. */
const agentFactor = 10

/** null: no limit. */
export const limitRate = (
  limits: RateLimits | null,
  limiter: RateLimiter,
  authentication: Pick<Authentication, "identify">,
): MiddlewareHandler<ApiEnv> => {
  const isAllowed = async (c: Context<ApiEnv>, { address, caller }: RateLimits): Promise<boolean> => {
    const kind = kindOfPath(c.req.path)
    if (!isRateLimited(c.req.path) || c.req.method === "OPTIONS") return true
    const identity = kind === "api" || kind === "console" ? await authentication.identify(c) : null
    if (identity === null || (identity.via !== "key" && identity.via !== "session")) {
      return limiter.take(`address ${c.get("clientAddress")}`, address)
    }
    const { actor } = identity
    const factor = actor.role === "agent" ? agentFactor : 1
    return limiter.take(`${actor.type} ${actor.name}`, {
      perSecond: caller.perSecond * factor,
      burst: caller.burst * factor,
    })
  }
  return async (c, next) => {
    if (limits !== null && !(await isAllowed(c, limits))) {
      return bareError(c, 429, "Rate limit exceeded", { "retry-after": "1" })
    }
    return next()
  }
}
