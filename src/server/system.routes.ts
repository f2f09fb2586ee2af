/** Routes about the server itself: probes, who am I, which build, the API's description. */
import { Hono } from "hono"
import * as v from "valibot"
import { logger } from "../logging"
import { type ApiEnv, operation } from "./operation"

export interface BuildVersion {
  readonly version: string
  readonly commit: string
  readonly modified: boolean
  readonly buildTime: string
  readonly runtime: string
}

interface Deps {
  readonly authType: "api-key" | "none"
  readonly version: BuildVersion
  /** null: no database. */
  readonly ping: (() => Promise<void>) | null
}

const pingMs = 2000
const log = logger("health")

const within = async (work: Promise<void>, limitMs: number): Promise<void> => {
  const { promise: limit, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs)
  try {
    await Promise.race([work, limit])
  } finally {
    clearTimeout(timer)
  }
}

/** Mount at the root. */
export const probeRoutes = ({ ping }: Pick<Deps, "ping">) =>
  new Hono<ApiEnv>()
    .get(
      "/health",
      operation({
        id: "get_health",
        summary: "Tell whether the process lives",
        role: "public",
        returns: v.object({ status: v.literal("healthy") }),
      }),
      (c) => c.json({ status: "healthy" }),
    )
    .get(
      "/ready",
      operation({
        id: "get_readiness",
        summary: "Tell whether the database answers",
        role: "public",
        returns: v.object({ status: v.literal("ready"), db: v.picklist(["reachable", "not_configured"]) }),
        otherwise: { 503: v.object({ status: v.literal("db_unavailable"), error: v.string() }) },
      }),
      async (c) => {
        if (ping === null) return c.json({ status: "ready", db: "not_configured" })
        try {
          await within(ping(), pingMs)
        } catch (error) {
          // Anybody may ask here, so the reason goes to the log.
          log.warn("the database does not answer", { error })
          return c.json({ status: "db_unavailable", error: "the database does not answer" }, 503)
        }
        return c.json({ status: "ready", db: "reachable" })
      },
    )

/** Mount at the root of the API. */
export const systemRoutes = ({ authType, version }: Pick<Deps, "authType" | "version">) =>
  new Hono<ApiEnv>()
    .get(
      "/auth/info",
      operation({
        id: "get_auth_info",
        summary: "Tell whether a key is needed",
        role: "public",
        returns: v.object({ auth_type: v.picklist(["api-key", "none"]), required: v.boolean() }),
      }),
      (c) => c.json({ auth_type: authType, required: authType !== "none" }),
    )
    .get(
      "/auth/check",
      operation({
        id: "check_auth",
        summary: "Tell whose key was presented",
        role: "viewer",
        returns: v.object({ status: v.literal("authenticated"), user: v.string(), admin: v.boolean() }),
      }),
      (c) => {
        const { name, role } = c.get("actor")
        return c.json({ status: "authenticated", user: name, admin: role === "admin" })
      },
    )
    .get(
      "/version",
      operation({
        id: "get_version",
        summary: "Tell which build this is",
        role: "public",
        returns: v.object({
          version: v.string(),
          commit: v.string(),
          modified: v.boolean(),
          build_time: v.string(),
          go_version: v.pipe(v.string(), v.description("Name and version of the runtime")),
        }),
      }),
      (c) =>
        c.json({
          version: version.version,
          commit: version.commit,
          modified: version.modified,
          build_time: version.buildTime,
          go_version: version.runtime,
        }),
    )
