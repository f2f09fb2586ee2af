/** Records every API call that passed authentication, refused ones included. */
import { createHash } from "node:crypto"
import type { MiddlewareHandler } from "hono"
import type { ApiCallLog } from "../audit/api-call-log"
import type { ApiEnv } from "./operation"
import { kindOfPath } from "./path-kinds"

/** They would fill an append-only table: every agent calls these every minute. */
const quiet = /^\/api\/v1\/(events|agents\/[^/]+\/(heartbeat|work))$/

export const apiAudit =
  (calls: Pick<ApiCallLog, "record">): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    if (kindOfPath(c.req.path) !== "api" || quiet.test(c.req.path)) return next()
    const started = performance.now()
    const hasBody = c.req.header("content-length") !== undefined || c.req.raw.body !== null
    const body = hasBody ? await c.req.arrayBuffer() : null
    await next()
    const actor = c.get("actor")
    calls.record({
      actor: actor.name === "" ? "anonymous" : actor.name,
      actorType: actor.type,
      method: c.req.method,
      // As it was sent: decoded, it could hold what a database refuses to store.
      path: new URL(c.req.url).pathname,
      bodyHash:
        body === null || body.byteLength === 0
          ? ""
          : createHash("sha256").update(new Uint8Array(body)).digest("hex").slice(0, 16),
      status: c.res.status,
      latencyMs: Math.round(performance.now() - started),
    })
  }
