import { expect, test } from "bun:test"
import { type Actor, anonymousActor } from "../access/actor"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { healthCheckRoutes } from "./health-check.routes"
import { healthCheckService } from "./health-check.service"
import { healthCheckStore } from "./health-check.store"

const setUp = (db: Db, actor?: Actor) => {
  const parts = serviceParts(db)
  const checks = healthCheckService({ ...parts, checks: healthCheckStore(db) })
  return { ...parts, send: resourceApi("health-checks", healthCheckRoutes(checks), actor) }
}

const pin = "ab".repeat(32)

const seen = (db: Db, id: string, values: Partial<typeof db.t.healthChecks.$inferInsert>) =>
  db.transaction(async (tx) => void (await healthCheckStore(db).update(tx, id, values)))

onEachDialect("health checks", (openDb) => {
  test("are created, shown, changed key by key and deleted, each with its audit event", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const created = await send("POST", "", { endpoint: "WWW.example.com", expected_fingerprint: "" })
    expect(created.status).toBe(201)
    const { id, created_at, updated_at } = created.body
    expect(id).toMatch(/^hc-.{10,}$/)
    expect(created.body).toEqual({
      id,
      endpoint: "www.example.com:443",
      expected_fingerprint: "",
      observed_fingerprint: "",
      status: "unknown",
      consecutive_failures: 0,
      response_time_ms: 0,
      tls_version: "",
      cipher_suite: "",
      cert_subject: "",
      cert_issuer: "",
      failure_reason: "",
      degraded_threshold: 2,
      down_threshold: 5,
      check_interval_seconds: 300,
      enabled: true,
      acknowledged: false,
      created_at,
      updated_at,
    })
    const changed = await send("PUT", `/${id}`, {
      expected_fingerprint: pin.toUpperCase().replace(/(..)(?=.)/g, "$1:"),
    })
    expect(changed).toMatchObject({ status: 200, body: { expected_fingerprint: pin, down_threshold: 5 } })
    expect((await send("PUT", `/${id}`, { enabled: false })).body).toMatchObject({
      enabled: false,
      endpoint: "www.example.com:443",
    })
    expect((await send("GET", `/${id}`)).body.enabled).toBe(false)
    expect(await send("DELETE", `/${id}`)).toEqual({ status: 204, body: null })
    expect((await send("DELETE", `/${id}`)).status).toBe(404)
    expect(await actionsOn(id)).toEqual([
      "health_check_created",
      "health_check_updated",
      "health_check_updated",
      "health_check_deleted",
    ])
  })

  test("take endpoints in any usual form, and the defaults for what is zero", async () => {
    const { send } = setUp(await openDb())
    const endpoint = async (given: string) => (await send("POST", "", { endpoint: given })).body.endpoint
    expect(await endpoint("host.example:8443")).toBe("host.example:8443")
    expect(await endpoint("10.0.0.1")).toBe("10.0.0.1:443")
    expect(await endpoint("[2001:DB8::1]:993")).toBe("[2001:db8::1]:993")
    expect(await endpoint("2001:db8::1")).toBe("[2001:db8::1]:443")
    const zeros = { degraded_threshold: 0, down_threshold: -1, check_interval_seconds: 0 }
    expect((await send("POST", "", { endpoint: "a.test", ...zeros })).body).toMatchObject({
      degraded_threshold: 2,
      down_threshold: 5,
      check_interval_seconds: 300,
    })
    expect((await send("POST", "", { endpoint: "a.test", status: "down", id: "hc-own" })).body).toMatchObject({
      id: "hc-own",
      status: "down",
    })
  })

  test("are refused with the name of the wrong field", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    const refusal = async (body: object) => {
      const { status, body: answer } = await send("POST", "", body)
      return `${status} ${answer.message}`
    }
    expect(await refusal({})).toBe("400 endpoint is required")
    expect(await refusal({ endpoint: " " })).toBe("400 endpoint is required")
    for (const endpoint of ["a.test:0", "a.test:70000", "https://a.test", "a b:443", "*.a.test:443", "a.test:443:1"]) {
      expect(await refusal({ endpoint })).toBe("400 endpoint must be host:port")
    }
    const good = { endpoint: "a.test:443" }
    expect(await refusal({ ...good, expected_fingerprint: "abc" })).toMatch(
      /^400 expected_fingerprint must be a SHA-256/,
    )
    expect(await refusal({ ...good, status: "Healthy" })).toMatch(/^400 status must be one of healthy/)
    expect(await refusal({ ...good, check_interval_seconds: 29 })).toBe(
      "400 check_interval_seconds must be at least 30",
    )
    expect(await refusal({ ...good, degraded_threshold: 5 })).toBe(
      "400 down_threshold must be greater than degraded_threshold (5)",
    )
    expect(await refusal({ ...good, certificate_id: "mc-none" })).toMatch(/^400 certificate_id must be an existing id/)
    expect(await refusal({ ...good, network_scan_target_id: "nst-none" })).toMatch(
      /^400 network_scan_target_id must be/,
    )
    await send("POST", "", { ...good, id: "hc-1" })
    expect((await send("PUT", "/hc-1", { endpoint: "" })).status).toBe(400)
    expect((await send("PUT", "/hc-1", { down_threshold: 2 })).status).toBe(400)
    expect((await send("PUT", "/hc-1", { check_interval_seconds: 0 })).status).toBe(400)
  })

  test("watch an endpoint once for a certificate", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    const body = { endpoint: "a.test:443", certificate_id: "mc-1" }
    expect((await send("POST", "", body)).status).toBe(201)
    expect((await send("POST", "", body)).status).toBe(409)
    const other = await send("POST", "", { ...body, endpoint: "b.test" })
    expect(other.status).toBe(201)
    expect((await send("PUT", `/${other.body.id}`, { endpoint: "A.test" })).status).toBe(409)
    expect((await send("POST", "", { endpoint: "a.test:443" })).status).toBe(201)
    expect((await send("POST", "", { endpoint: "a.test:443", certificate_id: "" })).status).toBe(201)
  })

  test("forget what was seen elsewhere or judged by another pin", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await send("POST", "", { endpoint: "a.test", id: "hc-1" })
    const at = new Date("2030-01-01T00:00:00Z")
    const observed = { status: "healthy", observedFingerprint: pin, lastCheckedAt: at, lastSuccessAt: at } as const
    await seen(db, "hc-1", { ...observed, acknowledged: true, acknowledgedBy: "ada", acknowledgedAt: at })
    expect((await send("PUT", "/hc-1", { enabled: true, endpoint: "a.test:443" })).body.status).toBe("healthy")
    const repinned = (await send("PUT", "/hc-1", { expected_fingerprint: "cd".repeat(32) })).body
    expect(repinned).toMatchObject({ status: "unknown", observed_fingerprint: pin, acknowledged: false })
    expect(repinned).toHaveProperty("last_success_at")
    expect(repinned).not.toHaveProperty("last_checked_at")
    await seen(db, "hc-1", observed)
    const moved = (await send("PUT", "/hc-1", { endpoint: "b.test" })).body
    expect(moved).toMatchObject({ status: "unknown", observed_fingerprint: "", endpoint: "b.test:443" })
    expect(moved).not.toHaveProperty("last_success_at")
  })

  test("are filtered, searched, counted and paged in both ways", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await send("POST", "", { endpoint: "a.test", id: "hc-a", certificate_id: "mc-1" })
    await send("POST", "", { endpoint: "b.test", id: "hc-b", enabled: false, status: "down" })
    await send("POST", "", { endpoint: "c.test", id: "hc-c", status: "down" })
    await seen(db, "hc-c", { failureReason: "connection REFUSED" })
    const ids = async (query: string): Promise<string[]> =>
      (await send("GET", query)).body.data.map((row: { id: string }) => row.id)
    expect(await ids("")).toEqual(["hc-c", "hc-b", "hc-a"])
    expect(await ids("?status=down")).toEqual(["hc-c", "hc-b"])
    expect(await ids("?status=nonsense")).toEqual([])
    expect(await ids("?certificate_id=mc-1")).toEqual(["hc-a"])
    expect(await ids("?network_scan_target_id=nst-1")).toEqual([])
    expect(await ids("?enabled=true")).toEqual(["hc-c", "hc-a"])
    expect(await ids("?enabled=no")).toEqual(["hc-b"])
    expect(await ids("?q=refused")).toEqual(["hc-c"])
    expect(await ids("?per_page=2&page=2")).toEqual(["hc-a"])
    const first = (await send("GET", "?page_size=2")).body
    expect(first).toMatchObject({ total: 3, page_size: 2 })
    expect(await ids(`?page_size=2&cursor=${first.next_cursor}`)).toEqual(["hc-a"])
    expect((await send("GET", "/summary")).body).toEqual({
      healthy: 0,
      degraded: 0,
      down: 2,
      cert_mismatch: 0,
      unknown: 1,
      total: 3,
    })
  })

  test("show their history, newest first and no more than is asked for", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await send("POST", "", { endpoint: "a.test", id: "hc-1" })
    expect((await send("GET", "/hc-1/history")).body).toEqual([])
    await db.transaction(async (tx) => {
      const rows = Array.from({ length: 1100 }, (_, i) => ({
        id: `hh-${String(i).padStart(4, "0")}`,
        healthCheckId: "hc-1",
        status: "healthy",
        responseTimeMs: i,
        checkedAt: new Date(Date.UTC(2030, 0, 1, 0, 0, i)),
      }))
      await tx.insert(db.t.healthHistory).values(rows)
    })
    const { body } = await send("GET", "/hc-1/history")
    expect(body).toHaveLength(100)
    expect(body[0]).toEqual({
      id: "hh-1099",
      health_check_id: "hc-1",
      status: "healthy",
      response_time_ms: 1099,
      fingerprint: "",
      failure_reason: "",
      checked_at: "2030-01-01T00:18:19.000Z",
    })
    const length = async (limit: string) => (await send("GET", `/hc-1/history?limit=${limit}`)).body.length
    expect(await length("7")).toBe(7)
    expect(await length("5000")).toBe(1000)
    expect(await length("0")).toBe(100)
    expect(await length("many")).toBe(100)
    expect((await send("DELETE", "/hc-1")).status).toBe(204)
    expect(await db.read.select().from(db.t.healthHistory)).toEqual([])
  })

  test("are acknowledged by whoever asks, or by the name that is given while authentication is off", async () => {
    const db = await openDb()
    const { send, actionsOn } = setUp(db, operatorActor)
    await send("POST", "", { endpoint: "a.test", id: "hc-1" })
    expect(await send("POST", "/hc-1/acknowledge", { actor: "somebody else" })).toEqual({ status: 204, body: null })
    const by = async () => (await send("GET", "/hc-1")).body.acknowledged_by
    expect(await by()).toBe("operator")
    const open = setUp(db, anonymousActor).send
    expect((await open("POST", "/hc-1/acknowledge", { actor: "ada" })).status).toBe(204)
    expect(await by()).toBe("ada")
    await open("POST", "/hc-1/acknowledge", { acknowledged_by: "grace" })
    expect(await by()).toBe("grace")
    expect((await open("POST", "/hc-1/acknowledge")).status).toBe(204)
    expect(await by()).toBe("unknown")
    expect((await send("GET", "/hc-1")).body).toMatchObject({ acknowledged: true, acknowledged_at: expect.any(String) })
    expect((await actionsOn("hc-1")).filter((action) => action === "health_check_acknowledged")).toHaveLength(4)
  })

  test("are not found under an unknown id, and are written by operators only", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    for (const [method, path] of [
      ["GET", "/hc-none"],
      ["PUT", "/hc-none"],
      ["DELETE", "/hc-none"],
      ["GET", "/hc-none/history"],
      ["POST", "/hc-none/acknowledge"],
    ] as const) {
      expect((await send(method, path)).status).toBe(404)
    }
    const asViewer = setUp(db, viewerActor).send
    expect((await asViewer("GET", "/summary")).status).toBe(200)
    expect((await asViewer("POST", "", { endpoint: "a.test" })).status).toBe(403)
    expect((await asViewer("POST", "/hc-none/acknowledge")).status).toBe(403)
  })
})
