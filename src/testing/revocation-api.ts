/** The lifecycle world with what is revoked, done to many at once and exported. */
import { Hono } from "hono"
import type { Actor } from "../access/actor"
import { bulkService } from "../certificates/bulk.service"
import { certificateStore } from "../certificates/certificate.store"
import { exportService } from "../certificates/export.service"
import { exportStore } from "../certificates/export.store"
import { estRevocationRoutes, revocationRoutes } from "../certificates/revocation.routes"
import { versionStore } from "../certificates/version.store"
import type { Db } from "../db/db"
import type { ApiEnv } from "../server/operation"
import { adminActor, agentActor, testApi } from "./api"
import { lifecycleApi } from "./lifecycle-api"
import type { Answer } from "./resource-api"

export const revocationApi = async (db: Db, { exportsPerHour = 0 } = {}) => {
  const api = await lifecycleApi(db)
  const { server, clock } = api
  const errors: unknown[] = []
  const common = {
    db: server.db,
    audit: server.audit,
    clock,
    certificates: certificateStore(server.db),
    versions: versionStore(server.db),
  }
  const bulk = bulkService({
    ...common,
    update: server.certificates.update,
    get: server.certificates.get,
    revocations: server.revocations,
    renewals: server.renewals,
    onRowError: (_id, error) => errors.push(error),
  })
  const exports = exportService({ ...common, exports: exportStore(server.db), hourlyLimit: exportsPerHour })
  const routes = new Hono<ApiEnv>()
    .route("/certificates", revocationRoutes({ revocations: server.revocations, bulk, exports }))
    .route("/est", estRevocationRoutes(bulk))

  /** The whole answer, for what is not JSON. */
  const request = (method: string, path: string, body?: unknown, actor: Actor = adminActor): Promise<Response> =>
    Promise.resolve(
      testApi({ routes: routes.routes }, actor).request(
        `/api/v1${path}`,
        body === undefined ? { method } : { method, body: typeof body === "string" ? body : JSON.stringify(body) },
      ),
    )

  return {
    ...api,
    errors,
    bulk,
    request,
    async ask(method: string, path: string, body?: unknown, actor?: Actor): Promise<Answer> {
      const answer = await request(method, path, body, actor)
      return { status: answer.status, body: await answer.json() }
    },
    /** Has an agent send a fresh CSR for a certificate that it serves. */
    issue: async (id: string, agentId = "agent-1"): Promise<void> => {
      const csrPem = await api.csrFor(id)
      const answer = await api.as(agentActor(agentId))("POST", `/agents/${agentId}/csr`, {
        csr_pem: csrPem,
        certificate_id: id,
      })
      if (answer.status !== 202) throw new Error(`the CSR was answered with ${answer.status}`)
    },
    versions: async (id: string) => (await server.certificates.versions(id, { limit: 100, offset: 0 })).rows,
    revocations: () =>
      db.read.select().from(db.t.certificateRevocations).orderBy(db.t.certificateRevocations.serialNumber),
    outbox: () => db.read.select().from(db.t.outbox).orderBy(db.t.outbox.id),
    work: () => server.outbox.work(new AbortController().signal),
  }
}
