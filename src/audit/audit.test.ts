import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { Hono } from "hono"
import { systemActor } from "../access/actor"
import type { Db } from "../db/db"
import { type ApiEnv, operation } from "../server/operation"
import { asOps, asRoot, assembleApp, tester } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { apiCallLog } from "./api-call-log"
import { auditService, type NewAuditEvent } from "./audit.service"
import { auditStore } from "./audit.store"

const event = (resourceId: string, more: Partial<NewAuditEvent> = {}): NewAuditEvent => ({
  action: "certificate_created",
  actor: tester,
  resourceType: "certificate",
  resourceId,
  ...more,
})

onEachDialect("the audit trail", (openDb) => {
  const serviceOn = (db: Db) => auditService({ db, events: auditStore(db), clock: { now: () => new Date() } })

  test("an event exists exactly when its change does", async () => {
    const db = await openDb()
    const audit = serviceOn(db)
    await db.transaction((tx) => audit.append(tx, event("mc-1"), event("mc-2")))
    const failing = db.transaction(async (tx) => {
      await audit.append(tx, event("mc-3"))
      throw new Error("the change failed")
    })
    await expect(failing).rejects.toThrow("the change failed")
    const { rows, total } = await audit.list({}, { page: 1, per_page: 50 })
    expect(total).toBe(2)
    expect(rows.map(({ resourceId }) => resourceId)).toEqual(["mc-2", "mc-1"])
  })

  test("secrets are redacted before they are stored", async () => {
    const db = await openDb()
    const audit = serviceOn(db)
    await db.transaction((tx) => audit.append(tx, event("mc-1", { details: { password: "hunter2", reason: "test" } })))
    expect(JSON.stringify(await db.read.select().from(db.t.auditEvents))).not.toContain("hunter2")
  })

  test("rows are never changed or deleted", async () => {
    const db = await openDb()
    const audit = serviceOn(db)
    await db.transaction((tx) => audit.append(tx, event("mc-1")))
    await expect(
      db.transaction(async (tx) => void (await tx.update(db.t.auditEvents).set({ actor: "x" }))),
    ).rejects.toThrow()
    await expect(db.transaction(async (tx) => void (await tx.delete(db.t.auditEvents)))).rejects.toThrow()
  })

  test("the list filters on the server, newest first, with the true total", async () => {
    const { app, audit, clock, apiCalls, db } = await open()
    const times: string[] = []
    for (const [resourceId, more] of [
      ["mc-1", {}],
      ["mc-2", { action: "certificate_revoked", actor: systemActor }],
      ["iss-1", { resourceType: "issuer", action: "create_issuer" }],
    ] as const) {
      clock.advance(1000)
      times.push(clock.now().toISOString())
      await db.transaction((tx) => audit.append(tx, event(resourceId, more)))
    }
    const list = async (query: string) => {
      const answer = await app.request(`/api/v1/audit?${query}`, asOps)
      expect(answer.status).toBe(200)
      await apiCalls.settled()
      return await answer.json()
    }
    const idsOf = async (query: string): Promise<string[]> =>
      (await list(query)).data
        .filter((row: { resource_type: string }) => row.resource_type !== "api")
        .map((row: { resource_id: string }) => row.resource_id)
    expect(await idsOf("")).toEqual(["iss-1", "mc-2", "mc-1"])
    expect(await idsOf("action=certificate_revoked")).toEqual(["mc-2"])
    expect(await idsOf("actor=tester")).toEqual(["iss-1", "mc-1"])
    expect(await idsOf("actor_type=System")).toEqual(["mc-2"])
    expect(await idsOf("actor_type=Martian")).toEqual([])
    expect(await idsOf("resource_type=certificate")).toEqual(["mc-2", "mc-1"])
    expect(await idsOf("resource_id=mc-1&resource_type=certificate")).toEqual(["mc-1"])
    expect(await idsOf(`from=${times[1]}`)).toEqual(["iss-1", "mc-2"])
    expect(await idsOf(`to=${times[1]}&created_after=${times[1]}`)).toEqual(["mc-2"])
    expect(await idsOf(`created_before=${times[0]}`)).toEqual(["mc-1"])
    expect(await idsOf("from=yesterday")).toEqual(["iss-1", "mc-2", "mc-1"])
    expect(await list("resource_type=certificate&per_page=1&page=2")).toMatchObject({
      data: [{ resource_id: "mc-1" }],
      total: 2,
      page: 2,
      per_page: 1,
    })
    expect(await list("resource_type=certificate&page=9")).toEqual({ data: [], total: 2, page: 9, per_page: 50 })
  })

  test("one event is found by its id, another is 404, and nothing can be written", async () => {
    const { app, audit, db } = await open()
    await db.transaction((tx) => audit.append(tx, event("mc-1")))
    const { rows } = await audit.list({}, { page: 1, per_page: 1 })
    const id = rows[0]?.id
    expect(id).toStartWith("audit-")
    expect(await (await app.request(`/api/v1/audit/${id}`, asOps)).json()).toMatchObject({ id, details: {} })
    expect((await app.request("/api/v1/audit/audit-none", asOps)).status).toBe(404)
    for (const method of ["POST", "PUT", "DELETE"]) {
      expect((await app.request(`/api/v1/audit/${id}`, { method, ...asRoot })).status).toBe(405)
    }
  })

  const open = async () => {
    const db = await openDb()
    const routes = new Hono<ApiEnv>()
      .post("/agents/:id/heartbeat", operation({ id: "heartbeat", summary: "Beat", role: "agent" }), (c) =>
        c.body(null, 204),
      )
      .get("/agents/:id/work", operation({ id: "work", summary: "Work", role: "agent" }), (c) => c.body(null, 204))
      .post("/things", operation({ id: "things", summary: "Things", role: "operator" }), (c) => c.body(null, 204))
    return { db, ...assembleApp(db, { routes }) }
  }

  test("every authenticated API call leaves a row, with the body's hash and without its query", async () => {
    const { app, audit, apiCalls } = await open()
    await app.request("/api/v1/things?secret=hunter2", { method: "POST", body: "{}", ...asOps })
    await app.request("/api/v1/audit/nothing", asOps)
    await app.request("/api/v1/api-keys", asOps)
    for (const path of ["/health", "/ready", "/api/v1/version", "/api/v1/auth/info", "/api/v1/things"])
      await app.request(path)
    await app.request("/api/v1/agents/a/heartbeat", { method: "POST", ...asOps })
    await app.request("/api/v1/agents/a/work", asOps)
    await apiCalls.settled()
    const { rows } = await audit.list({}, { page: 1, per_page: 50 })
    const byPath = new Map(rows.map((row) => [row.resourceId, row]))
    expect([...byPath.keys()].sort()).toEqual(["/api/v1/api-keys", "/api/v1/audit/nothing", "/api/v1/things"])
    expect(byPath.get("/api/v1/things")).toMatchObject({
      action: "api_post",
      actor: "ops",
      actorType: "User",
      resourceType: "api",
      details: {
        method: "POST",
        path: "/api/v1/things",
        body_hash: createHash("sha256").update("{}").digest("hex").slice(0, 16),
        status: 204,
      },
    })
    expect(byPath.get("/api/v1/api-keys")?.details).toMatchObject({ status: 403, body_hash: "" })
  })

  test("without authentication the caller is anonymous", async () => {
    const { app, audit, apiCalls } = assembleApp(await openDb(), { mode: "none" })
    await app.request("/api/v1/auth/check")
    await apiCalls.settled()
    const { rows } = await audit.list({}, { page: 1, per_page: 50 })
    expect(rows).toMatchObject([{ actor: "anonymous", actorType: "User", action: "api_get" }])
  })

  const call = {
    actor: "ops",
    actorType: "User",
    method: "GET",
    path: "/api/v1/things",
    bodyHash: "",
    status: 200,
    latencyMs: 1,
  } as const

  test("a full queue loses rows, counts them and never blocks; closing writes the rest", async () => {
    const db = await openDb()
    const clock = { now: () => new Date("2026-03-01T12:00:00Z") }
    const calls = apiCallLog({ db, events: auditStore(db), clock, capacity: 700 })
    for (let n = 0; n < 2000; n += 1) calls.record(call)
    const lost = await calls.close(10_000)
    const written = await auditStore(db).count({})
    expect(written + lost).toBe(2000)
    expect(lost).toBe(calls.lost())
    expect(written).toBe(700)
  })

  test("closing gives up when its time is over", async () => {
    const db = await openDb()
    const { promise: never } = Promise.withResolvers<never>()
    const calls = apiCallLog({
      db: { transaction: () => never, signal() {} },
      events: auditStore(db),
      clock: { now: () => new Date() },
    })
    for (let n = 0; n < 600; n += 1) calls.record(call)
    expect(await calls.close(5)).toBe(600)
  })
})
