/** The routes of certificates, jobs and agents over real services, with one agent's and one person's hands to work them. */
import { Hono } from "hono"
import type { Actor } from "../access/actor"
import { agentRoutes, joinTokenRoutes } from "../agents/agent.routes"
import { approvalRoutes } from "../approvals/approval.routes"
import { certificateRoutes } from "../certificates/certificate.routes"
import type { Db } from "../db/db"
import { jobRoutes } from "../jobs/job.routes"
import { buildCsr } from "../pki/csr"
import { generateKey, type KeyType } from "../pki/keys"
import type { ApiEnv } from "../server/operation"
import { adminActor, testApi } from "./api"
import { testClock } from "./assembled-app"
import { dayMs, layOut, lifecycleServer, outsideCa } from "./lifecycle-world"
import type { Answer } from "./resource-api"

type ServerOptions = Parameters<typeof lifecycleServer>[0]

export const lifecycleApi = async (db: Db, options: Partial<ServerOptions> = {}) => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  await layOut(db, clock.now())
  const lifetimeMs = 90 * dayMs
  const ca = outsideCa(clock.now, lifetimeMs)
  const server = lifecycleServer({ db, clock, serverId: "server-1", ca, lifetimeMs, ...options })
  const routes = new Hono<ApiEnv>()
    .route("/certificates", certificateRoutes(server))
    .route("/jobs", jobRoutes(server.jobs))
    .route("/approvals", approvalRoutes(server.approvals))
    .route("/agents", agentRoutes(server))
    .route("/join-tokens", joinTokenRoutes(server.tokens))

  const as =
    (actor: Actor) =>
    async (method: string, path: string, body?: object | string): Promise<Answer> => {
      const app = testApi({ routes: routes.routes }, actor)
      const text = typeof body === "string" ? body : JSON.stringify(body)
      const answer = await app.request(`/api/v1${path}`, body === undefined ? { method } : { method, body: text })
      const answered = await answer.text()
      return { status: answer.status, body: answered === "" ? null : JSON.parse(answered) }
    }
  const send = as(adminActor)

  return {
    db,
    clock,
    ca,
    server,
    as,
    send,
    /** Maps a certificate to targets. */
    map: (id: string, ...targetIds: string[]) => send("PUT", `/certificates/${id}`, { target_ids: targetIds }),
    /** A fresh CSR for one of the three certificates of the world. */
    async csrFor(id: string, sans: string[] = [], keyType: KeyType = "ecdsa-p256") {
      return buildCsr({ commonName: `${id}.example.com`, sans, privateKey: await generateKey(keyType) })
    },
    jobsOf: async (id: string) =>
      (await server.jobs.list({ certificateId: id }, { limit: 100, offset: 0 })).rows.toReversed(),
    eventsOf: async (id: string) =>
      (await server.audit.list({ resourceId: id }, { page: 1, per_page: 100 })).rows.toReversed(),
  }
}
