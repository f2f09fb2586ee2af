/** Headers on every answer, refusals included. */
import type { MiddlewareHandler } from "hono"
import type { ApiEnv } from "./operation"
import { kindOfPath } from "./path-kinds"

/** No inline script or style anywhere, so no nonces. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ")

const always = {
  "strict-transport-security": "max-age=31536000; includeSubDomains",
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer-when-downgrade",
  "content-security-policy": contentSecurityPolicy,
}

const cacheRules = { api: "no-store", open: "no-store", probe: "no-store", console: "private, no-cache" } as const

export const securityHeaders: MiddlewareHandler<ApiEnv> = async (c, next) => {
  await next()
  const { headers } = c.res
  // An answer that is no page of ours, such as a mail that is shown, brings its own.
  const ownPolicy = headers.get("content-security-policy")
  for (const [name, value] of Object.entries(always)) headers.set(name, value)
  if (ownPolicy !== null) headers.set("content-security-policy", ownPolicy)
  const kind = kindOfPath(c.req.path)
  // CRLs, OCSP answers and assets say themselves how long they keep.
  if (kind !== "protocol" && kind !== "asset" && !headers.has("cache-control")) {
    headers.set("cache-control", cacheRules[kind])
  }
}
