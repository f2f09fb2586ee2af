/** Routes of a feature behind the real middleware, with an actor of the test's choice instead of keys; answers are checked. */
import { BlockList } from "node:net"
import type { Hono } from "hono"
import type { Actor } from "../access/actor"
import { systemClock } from "../clock"
import { createApp } from "../server/app"
import type { ApiEnv } from "../server/operation"
import type { Route } from "../server/route-table"

export const adminActor: Actor = { name: "tester", type: "User", role: "admin" }
export const operatorActor: Actor = { name: "operator", type: "User", role: "operator" }
export const viewerActor: Actor = { name: "viewer", type: "User", role: "viewer" }
export const agentActor = (agentId: string): Actor => ({ name: agentId, type: "Agent", role: "agent", agentId })

const noVersion = { version: "0.0.0", commit: "", modified: false, buildTime: "", runtime: "" }

/** `api` as the wiring would mount it, e.g. `new Hono<ApiEnv>().route("/widgets", widgetRoutes(service))`. */
export const testApi = (
  api: { readonly routes: readonly Route[] },
  actor: Actor = adminActor,
  { protocols }: { protocols?: { readonly routes: readonly Route[] } } = {},
): Hono<ApiEnv> =>
  createApp({
    api,
    ...(protocols === undefined ? {} : { protocols }),
    authentication: {
      mode: actor.role === "none" ? "none" : "api-key",
      identify: async () => ({ via: "key", actor }),
      isStillAllowed: async () => true,
    },
    apiCalls: { record() {} },
    ping: null,
    clock: systemClock,
    version: noVersion,
    publicUrl: "https://certctl.example",
    maxBodyBytes: 1_048_576,
    rateLimits: null,
    corsOrigins: [],
    trustedProxies: new BlockList(),
    checksAnswers: true,
  })
