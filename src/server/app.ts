/** The one place that shows what a request passes through, and that mounts every route. */
import type { BlockList } from "node:net"
import { type Context, Hono, type MiddlewareHandler } from "hono"
import { Registry } from "prom-client"
import * as v from "valibot"
import type { Authentication } from "../access/authentication"
import type { ApiCallLog } from "../audit/api-call-log"
import type { Clock } from "../clock"
import { apiAudit } from "./api-audit"
import { authenticate } from "./authenticate"
import { bodyLimit } from "./body-limit"
import { cors } from "./cors"
import { bareError, errorAnswer, type Problem, problemAnswer, problemOf } from "./error-answers"
import { limitRate, type RateLimits } from "./limit-rate"
import { openApiDocument } from "./openapi"
import { type ApiEnv, operation } from "./operation"
import { kindOfPath } from "./path-kinds"
import { rateLimiter } from "./rate-limit"
import { requestIdentity, requestLog, requestMetrics, urgency } from "./request-log"
import { allowedMethods, literalFirst, type Route } from "./route-table"
import { securityHeaders } from "./security-headers"
import { type BuildVersion, probeRoutes, systemRoutes } from "./system.routes"

interface Routes {
  readonly routes: readonly Route[]
}

export interface AppOptions {
  /** All features' routes, mounted below /api/v1. */
  readonly api: Routes
  /** EST, SCEP, CRL, OCSP, ACME: mounted at the root, without our authentication. */
  readonly protocols?: Routes
  readonly console?: {
    /** Pages and assets, mounted at the root. */
    readonly app: Routes
    /** The page of a failure: 404, 403, 500. */
    readonly problemPage: (
      c: Context<ApiEnv>,
      problem: Pick<Problem, "status" | "message">,
    ) => Response | Promise<Response>
  }
  readonly authentication: Authentication
  readonly apiCalls: Pick<ApiCallLog, "record">
  /** null: no database. */
  readonly ping: (() => Promise<void>) | null
  readonly clock: Clock
  readonly version: BuildVersion
  readonly publicUrl: string
  readonly maxBodyBytes: number
  /** null: no rate limit. */
  readonly rateLimits: RateLimits | null
  readonly corsOrigins: readonly string[]
  readonly trustedProxies: BlockList
  /** Gets the metrics of requests. */
  readonly registry?: Registry
  /** Compares every successful answer with its declaration; tests only. */
  readonly checksAnswers?: boolean
}

const apiBase = "/api/v1"

/** Errors are turned into answers by `app.onError`; this is for what is thrown and is none. */
const recovery: MiddlewareHandler<ApiEnv> = async (c, next) => {
  try {
    await next()
  } catch (thrown) {
    c.res = problemAnswer(c, problemOf(thrown))
  }
}

/** PostgreSQL has no U+0000 in a text, and nobody has a use for it. Bodies are looked at where they are parsed. */
const plainAddress: MiddlewareHandler<ApiEnv> = async (c, next) =>
  c.req.url.includes("%00") ? bareError(c, 400, "the address must not contain NUL characters") : next()

const mount = (app: Hono<ApiEnv>, base: string, routes: readonly Route[]): void => {
  for (const { method, path, handler } of routes) app.on(method, `${base}${path}`, handler)
}

export const createApp = (options: AppOptions): Hono<ApiEnv> => {
  const { authentication, console: pages, clock, corsOrigins, publicUrl, version } = options
  const app = new Hono<ApiEnv>()

  app.use(requestIdentity(options.trustedProxies))
  app.use(urgency)
  app.use(securityHeaders)
  app.use(requestLog(requestMetrics(options.registry ?? new Registry())))
  app.use(recovery)
  app.use(plainAddress)
  app.use(bodyLimit(options.maxBodyBytes))
  app.use(limitRate(options.rateLimits, rateLimiter(clock), authentication))
  app.use(cors(corsOrigins))
  app.use(authenticate({ authentication, publicUrl, corsOrigins }))
  app.use(apiAudit(options.apiCalls))
  if (options.checksAnswers === true) {
    app.use((c, next) => {
      c.set("checksAnswers", true)
      return next()
    })
  }

  const system = systemRoutes({ authType: authentication.mode, version })
  let document: ReturnType<typeof openApiDocument> | undefined
  const description = new Hono<ApiEnv>().get(
    "/openapi.json",
    operation({
      id: "get_openapi_document",
      summary: "Describe the API as OpenAPI 3.1",
      role: "viewer",
      returns: v.looseObject({ openapi: v.string() }),
    }),
    async (c) => {
      document ??= openApiDocument(app, { version: version.version, url: publicUrl })
      return c.json(await document)
    },
  )
  mount(app, "", probeRoutes({ ping: options.ping }).routes)
  mount(app, apiBase, literalFirst([...system.routes, ...description.routes, ...options.api.routes]))
  if (options.protocols !== undefined) mount(app, "", options.protocols.routes)

  const methodsOf = allowedMethods([...app.routes, ...(pages?.app.routes ?? [])])
  const isForBrowsers = (c: Context<ApiEnv>): boolean => ["console", "asset"].includes(kindOfPath(c.req.path))
  const unmatched = (c: Context<ApiEnv>): Response | Promise<Response> => {
    const methods = methodsOf(c.req.path)
    if (methods.length > 0) {
      const allow = methods.join(", ")
      return errorAnswer(c, 405, `${c.req.method} is not allowed here; allowed: ${allow}`, { headers: { allow } })
    }
    if (pages !== undefined && isForBrowsers(c)) {
      return pages.problemPage(c, { status: 404, message: "There is no such page" })
    }
    return errorAnswer(c, 404, "there is nothing under this path")
  }
  // Before the console's routes: none of its middleware is for the API.
  app.all("/api/*", unmatched)
  if (pages !== undefined) mount(app, "", pages.app.routes)

  app.notFound(unmatched)
  app.onError((error, c) => {
    const problem = problemOf(error)
    return pages !== undefined && isForBrowsers(c) ? pages.problemPage(c, problem) : problemAnswer(c, problem)
  })
  return app
}
