import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { networkScanTargetRoutes } from "./network-scan-target.routes"
import { networkScanTargetService } from "./network-scan-target.service"
import { networkScanTargetStore } from "./network-scan-target.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const targets = networkScanTargetService({ ...parts, targets: networkScanTargetStore(db) })
  return { ...parts, send: resourceApi("network-scan-targets", networkScanTargetRoutes(targets), actor) }
}

onEachDialect("network scan targets", (openDb) => {
  test("are created, shown, changed key by key and deleted, each with its audit event", async () => {
    const { send, actionsOn } = setUp(await openDb())
    const created = await send("POST", "", { id: "ignored", name: "office", cidrs: ["10.0.16.0/20", "192.0.2.7"] })
    expect(created.status).toBe(201)
    const { id, created_at, updated_at } = created.body
    expect(id).toMatch(/^nst-.{10,}$/)
    expect(created.body).toEqual({
      id,
      name: "office",
      cidrs: ["10.0.16.0/20", "192.0.2.7"],
      ports: [443],
      enabled: true,
      scan_interval_hours: 6,
      timeout_ms: 5000,
      health_check_enabled: false,
      health_check_interval_seconds: 300,
      created_at,
      updated_at,
    })
    const changed = await send("PUT", `/${id}`, { enabled: false })
    expect(changed).toMatchObject({ status: 200, body: { name: "office", enabled: false, ports: [443] } })
    expect((await send("PUT", `/${id}`, { ports: [8443, 443, 8443] })).body.ports).toEqual([8443, 443])
    expect((await send("GET", "")).body).toMatchObject({ total: 1, data: [{ id }] })
    expect((await send("GET", `/${id}`)).body.enabled).toBe(false)
    expect(await send("DELETE", `/${id}`)).toEqual({ status: 204, body: null })
    expect(await actionsOn(id)).toEqual([
      "network_scan_target_created",
      "network_scan_target_updated",
      "network_scan_target_updated",
      "network_scan_target_deleted",
    ])
  })

  test("are refused with the name of the wrong field", async () => {
    const { send } = setUp(await openDb())
    const refusal = async (body: object) => {
      const { status, body: answer } = await send("POST", "", body)
      return `${status} ${answer.message}`
    }
    const good = { name: "x", cidrs: ["10.0.0.1"] }
    expect(await refusal({ cidrs: ["10.0.0.1"] })).toBe("400 name is required")
    expect(await refusal({ name: "x" })).toBe("400 cidrs is required")
    expect(await refusal({ name: "x", cidrs: [] })).toBe("400 cidrs is required")
    for (const cidr of ["10.0.0.0/19", "2001:db8::/115", "host.example", "10.0.0.0/40", ""]) {
      expect(await refusal({ ...good, cidrs: ["10.0.0.1", cidr] })).toMatch(/^400 cidrs\[1\] must be an IP address or/)
    }
    expect(await refusal({ ...good, ports: [0] })).toBe("400 ports[0] must be at least 1")
    expect(await refusal({ ...good, ports: [65_536] })).toBe("400 ports[0] must be at most 65535")
    expect(await refusal({ ...good, scan_interval_hours: 0 })).toBe("400 scan_interval_hours must be at least 1")
    expect(await refusal({ ...good, timeout_ms: 99 })).toBe("400 timeout_ms must be at least 100")
    expect(await refusal({ ...good, timeout_ms: 60_001 })).toBe("400 timeout_ms must be at most 60000")
    expect((await send("POST", "", { ...good, cidrs: ["2001:db8::/116"] })).status).toBe(201)
    const { body } = await send("POST", "", good)
    expect((await send("PUT", `/${body.id}`, { cidrs: [] })).status).toBe(400)
  })

  test("are not found under an unknown id, and are written by operators only", async () => {
    const db = await openDb()
    const { send } = setUp(db, operatorActor)
    for (const method of ["GET", "PUT", "DELETE"]) expect((await send(method, "/nst-none")).status).toBe(404)
    const asViewer = setUp(db, viewerActor).send
    expect((await asViewer("GET", "")).status).toBe(200)
    expect((await asViewer("POST", "", { name: "x", cidrs: ["10.0.0.1"] })).status).toBe(403)
  })

  test("leave the health checks that came from them when they are deleted", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    const { body } = await send("POST", "", { name: "x", cidrs: ["10.0.0.1"] })
    await db.transaction(async (tx) => {
      const stamps = { createdAt: new Date(), updatedAt: new Date() }
      const check = { id: "hc-1", endpoint: "10.0.0.1:443", networkScanTargetId: body.id, ...stamps }
      await tx.insert(db.t.healthChecks).values(check)
    })
    expect((await send("DELETE", `/${body.id}`)).status).toBe(204)
    expect(await db.read.select().from(db.t.healthChecks)).toMatchObject([{ id: "hc-1", networkScanTargetId: null }])
  })
})
