/** Cross-origin rules: none unless origins are configured. Credentials are never allowed: other origins bring a key. */
import type { MiddlewareHandler } from "hono"
import type { ApiEnv } from "./operation"
import { kindOfPath } from "./path-kinds"

const preflight = {
  "access-control-allow-methods": "GET, POST, PUT, DELETE, PATCH, OPTIONS",
  "access-control-allow-headers": "Content-Type, Authorization, X-Request-ID",
  "access-control-max-age": "86400",
}

export const cors = (origins: readonly string[]): MiddlewareHandler<ApiEnv> => {
  const allowed = new Set(origins)
  const allowOriginOf = (path: string, origin: string | undefined): string | null => {
    const kind = kindOfPath(path)
    if (kind === "probe" || kind === "open" || allowed.has("*")) return "*"
    return origin !== undefined && allowed.has(origin) ? origin : null
  }
  return async (c, next) => {
    const allowOrigin = allowOriginOf(c.req.path, c.req.header("origin"))
    if (c.req.method === "OPTIONS") c.res = new Response(null, { status: 204 })
    else await next()
    const { headers } = c.res
    // A cache must not give one origin's answer to another, the refused ones included.
    if (allowed.size > 0 && allowOrigin !== "*") headers.append("vary", "Origin")
    if (allowOrigin === null) return
    headers.set("access-control-allow-origin", allowOrigin)
    if (c.req.method === "OPTIONS" && allowed.size > 0) {
      for (const [name, value] of Object.entries(preflight)) headers.set(name, value)
    }
  }
}
