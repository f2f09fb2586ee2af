/** The id of a request, its log line and its metrics. Neither query strings nor headers are ever logged. */

import type { BlockList } from "node:net"
import type { Context, MiddlewareHandler } from "hono"
import { matchedRoutes } from "hono/route"
import { Counter, Histogram, type Registry } from "prom-client"
import { logger, withLogContext } from "../logging"
import { urgently } from "../urgency"
import { clientAddress, isTrusted } from "./client-address"
import type { ApiEnv } from "./operation"
import { isOfAgent, kindOfPath } from "./path-kinds"

const log = logger("http")

/** An incoming X-Request-ID is not believed: a caller could make lines of other requests look like its own. */
export const requestIdentity =
  (trustedProxies: BlockList): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    const requestId = crypto.randomUUID()
    c.set("requestId", requestId)
    const peer = c.env?.remoteAddress ?? ""
    c.set("clientAddress", clientAddress(peer, c.req.header("x-forwarded-for"), trustedProxies))
    c.set("isFromTrustedProxy", isTrusted(peer, trustedProxies))
    await withLogContext({ request_id: requestId }, next)
    c.res.headers.set("x-request-id", requestId)
  }

/** What somebody waits for goes before what loops and agents do, where the database is busy. */
export const urgency: MiddlewareHandler<ApiEnv> = (c, next) => (isOfAgent(c.req.path) ? next() : urgently(next))

/** The pattern of the route that answered, so that ids do not become label values. */
const routeOf = (c: Context<ApiEnv>): string => {
  const routes = matchedRoutes(c).filter(({ method }) => method !== "ALL")
  return routes.at(-1)?.path ?? "unmatched"
}

export const requestMetrics = (registry: Registry) => {
  const labelNames = ["method", "route", "status"] as const
  const requests = new Counter({
    name: "certctl_http_requests_total",
    help: "HTTP requests answered",
    labelNames,
    registers: [registry],
  })
  const duration = new Histogram({
    name: "certctl_http_request_duration_seconds",
    help: "Time until the answer began",
    labelNames,
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  })
  return (labels: { method: string; route: string; status: number }, seconds: number): void => {
    requests.inc(labels)
    duration.observe(labels, seconds)
  }
}

const knownMethods = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])

export const requestLog =
  (measure: ReturnType<typeof requestMetrics>): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    const started = performance.now()
    await next()
    const milliseconds = performance.now() - started
    const { status } = c.res
    const method = knownMethods.has(c.req.method) ? c.req.method : "other"
    measure({ method, route: routeOf(c), status }, milliseconds / 1000)
    const line = { method: c.req.method, path: c.req.path, status, ms: Math.round(milliseconds * 10) / 10 }
    // Probes come every few seconds and would bury the rest.
    if (kindOfPath(c.req.path) === "probe" && status < 400) log.debug("{method} {path} {status}", line)
    else log.info("{method} {path} {status}", line)
  }
