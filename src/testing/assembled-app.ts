/** The application as the server assembles it, on a test database: real keys, sessions, audit trail and middleware. */
import { BlockList } from "node:net"
import { Hono } from "hono"
import type { Actor } from "../access/actor"
import { apiKeyRoutes } from "../access/api-key.routes"
import { apiKeyService, type ConfiguredKey } from "../access/api-key.service"
import { apiKeyStore } from "../access/api-key.store"
import { authentication, type Registration } from "../access/authentication"
import { loginThrottle } from "../access/login-throttle"
import { sessionService } from "../access/session.service"
import { sessionStore } from "../access/session.store"
import { sessionCookie } from "../access/session-cookie"
import { apiCallLog } from "../audit/api-call-log"
import { auditRoutes } from "../audit/audit.routes"
import { auditService } from "../audit/audit.service"
import { auditStore } from "../audit/audit.store"
import { eventFeed } from "../audit/event-feed"
import { eventStreamRoutes } from "../audit/event-stream.routes"
import { leafStore } from "../audit/leaf.store"
import { sealingService } from "../audit/sealing.service"
import type { Db } from "../db/db"
import { type AppOptions, createApp } from "../server/app"
import type { ApiEnv } from "../server/operation"
import type { Route } from "../server/route-table"

/** A clock that tests move. */
export const testClock = (start = "2026-03-01T12:00:00.000Z") => {
  let now = new Date(start).getTime()
  return {
    now: () => new Date(now),
    advance: (ms: number): void => {
      now += ms
    },
  }
}

export interface Assembly extends Partial<Omit<AppOptions, "api" | "authentication" | "apiCalls" | "clock">> {
  readonly mode?: "api-key" | "none"
  readonly keys?: readonly ConfiguredKey[]
  readonly agents?: Readonly<Record<string, string>>
  readonly registration?: Registration
  readonly routes?: { readonly routes: readonly Route[] }
  readonly heartbeatMs?: number
}

export const defaultKeys: readonly ConfiguredKey[] = [
  { name: "root", key: "root-key", role: "admin" },
  { name: "ops", key: "ops-key", role: "operator" },
]

/** `agents` maps the hash of an agent's own key to its id. */
export const assembleApp = (db: Db, options: Assembly = {}) => {
  const clock = testClock()
  const events = auditStore(db)
  const audit = auditService({ db, events, clock })
  const keyRows = apiKeyStore(db)
  const sessionRows = sessionStore(db)
  const keys = apiKeyService({
    db,
    keys: keyRows,
    sessions: sessionRows,
    audit,
    clock,
    configured: options.keys ?? defaultKeys,
    findAgentByKeyHash: async (hash) => {
      const id = options.agents?.[hash]
      return id === undefined ? null : { id, retiredAt: null }
    },
  })
  const throttle = loginThrottle(clock)
  const sessions = sessionService({ db, sessions: sessionRows, keys, throttle, audit, clock })
  const cookie = sessionCookie(true)
  const access = authentication({
    mode: options.mode ?? "api-key",
    keys,
    sessions,
    cookie,
    registration: options.registration ?? null,
  })
  const apiCalls = apiCallLog({ db, events, clock })
  const leaves = leafStore(db)
  const sealing = sealingService({ db, leaves, clock })
  const feed = eventFeed({ db, leaves, pollMs: 50 })
  const api = new Hono<ApiEnv>()
    .route("/api-keys", apiKeyRoutes(keys))
    .route("/audit", auditRoutes(audit))
    .route("/events", eventStreamRoutes({ feed, heartbeatMs: options.heartbeatMs }))
  const app = createApp({
    ping: db.ping,
    version: { version: "1.2.3", commit: "abc", modified: false, buildTime: "", runtime: "bun" },
    publicUrl: "https://certctl.example:8443",
    maxBodyBytes: 1_048_576,
    rateLimits: null,
    corsOrigins: [],
    trustedProxies: new BlockList(),
    checksAnswers: true,
    ...options,
    api: { routes: [...api.routes, ...(options.routes?.routes ?? [])] },
    authentication: access,
    apiCalls,
    clock,
  })
  return { app, clock, audit, events, keys, keyRows, sessions, sessionRows, cookie, apiCalls, leaves, sealing, feed }
}

export const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
export const asRoot = { headers: bearer("root-key") }
export const asOps = { headers: bearer("ops-key") }

export const tester: Actor = { name: "tester", type: "User", role: "admin" }
