import { expect, test } from "bun:test"
import { mask } from "../connectors/stored-config"
import type { Db } from "../db/db"
import { openSealer } from "../secrets/sealing"
import { viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertAgent, insertCertificate, insertJob, mapTarget } from "../testing/rows"
import { targetRoutes } from "./target.routes"
import { targetService } from "./target.service"
import { targetStore } from "./target.store"

const sealer = await openSealer({ passphrase: "a passphrase that is only for tests" })

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const changed: string[][] = []
  const targets = targetService({
    ...parts,
    sealer,
    targets: targetStore(db),
    async onServingChanged(_tx, ids) {
      changed.push([...ids])
    },
  })
  return { ...parts, targets, changed, send: resourceApi("targets", targetRoutes(targets), actor) }
}

const nginx = {
  name: "web",
  type: "NGINX",
  agent_id: "agent-1",
  config: { cert_path: "/etc/tls/site.pem", key_path: "/etc/tls/site.key" },
}

onEachDialect("targets", (openDb) => {
  test("are created, changed and deleted, each with its audit event", async () => {
    const db = await openDb()
    const { send, actionsOn } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    const created = await send("POST", "", nginx)
    expect(created.status).toBe(201)
    const { id, created_at, updated_at } = created.body
    expect(created.body).toEqual({
      ...nginx,
      id,
      config: { ...nginx.config, key_path: mask },
      enabled: true,
      test_status: "untested",
      source: "database",
      created_at,
      updated_at,
    })
    expect(id).toMatch(/^tgt-.{10,}$/)
    expect((await send("PUT", `/${id}`, { name: "shop" })).body).toMatchObject({ name: "shop", type: "NGINX" })
    expect((await send("GET", "")).body).toMatchObject({ total: 1, data: [{ id, name: "shop" }] })
    expect((await send("DELETE", `/${id}`)).status).toBe(204)
    expect((await send("DELETE", `/${id}`)).status).toBe(404)
    expect(await actionsOn(id)).toEqual(["create_target", "update_target", "delete_target"])
  })

  test("give the whole configuration to nobody but whoever works for the agent", async () => {
    const db = await openDb()
    const { send, targets } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    const config = { ...nginx.config, api_token: "t0ken" }
    await send("POST", "", { ...nginx, id: "tgt-1", config })
    expect((await send("GET", "/tgt-1")).body.config.api_token).toBe(mask)
    const [row] = await db.read.select().from(db.t.deploymentTargets)
    expect(JSON.stringify(row)).not.toContain("t0ken")
    expect(await targets.fullConfig("tgt-1")).toEqual(config)
  })

  test("keep masked secrets on a change, unless another agent would get them", async () => {
    const db = await openDb()
    const { send, targets } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-2" })
    await send("POST", "", { ...nginx, id: "tgt-1", config: { ...nginx.config, api_token: "t0ken" } })
    const shown = (await send("GET", "/tgt-1")).body.config
    expect((await send("PUT", "/tgt-1", { config: { ...shown, note: "x" } })).status).toBe(200)
    expect(await targets.fullConfig("tgt-1")).toEqual({ ...nginx.config, api_token: "t0ken", note: "x" })
    const moved = await send("PUT", "/tgt-1", { agent_id: "agent-2" })
    expect(moved.status).toBe(400)
    expect(moved.body.message).toContain("config.api_token must be given again")
    const given = await send("PUT", "/tgt-1", { agent_id: "agent-2", config: { ...shown, api_token: "again" } })
    expect(given).toMatchObject({ status: 200, body: { agent_id: "agent-2" } })
  })

  test("are refused with the name of the wrong field", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-old", retiredAt: new Date() })
    const refusal = async (body: object) => {
      const answer = await send("POST", "", body)
      return `${answer.status} ${answer.body.message}`
    }
    const { name: _, ...nameless } = nginx
    expect(await refusal(nameless)).toBe("400 name is required")
    expect(await refusal({ name: "x", agent_id: "agent-1" })).toBe("400 type is required")
    expect(await refusal({ name: "x", type: "NGINX" })).toBe("400 agent_id is required")
    expect(await refusal({ ...nginx, type: "nginx" })).toMatch(/^400 type must be one of .*NGINX/)
    expect(await refusal({ ...nginx, config: {} })).toMatch(/^400 cert_path is required/)
    expect(await refusal({ ...nginx, config: { cert_path: "site.pem" } })).toMatch(/^400 cert_path must be/)
    expect(await refusal({ ...nginx, agent_id: "agent-none" })).toMatch(/^400 agent_id must be an existing agent/)
    expect(await refusal({ ...nginx, agent_id: "agent-old" })).toMatch(/^400 agent_id must not be a retired agent/)
    await send("POST", "", { ...nginx, id: "tgt-1" })
    expect((await send("PUT", "/tgt-1", { agent_id: "agent-old" })).status).toBe(400)
    expect((await send("PUT", "/tgt-none", { name: "x" })).status).toBe(404)
    expect((await send("GET", "/tgt-none")).status).toBe(404)
  })

  test("have unique names on their agent", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-2" })
    await send("POST", "", nginx)
    expect((await send("POST", "", nginx)).status).toBe(409)
    const elsewhere = await send("POST", "", { ...nginx, agent_id: "agent-2" })
    expect(elsewhere.status).toBe(201)
    expect((await send("PUT", `/${elsewhere.body.id}`, { agent_id: "agent-1" })).status).toBe(409)
  })

  test("tell which certificates are served by others from now on", async () => {
    const db = await openDb()
    const { send, changed } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await send("POST", "", { ...nginx, id: "tgt-1" })
    await insertCertificate(db, { id: "mc-1" })
    await mapTarget(db, "mc-1", "tgt-1")
    await send("PUT", "/tgt-1", { name: "renamed" })
    expect(changed).toEqual([])
    await send("PUT", "/tgt-1", { enabled: false })
    expect(changed).toEqual([["mc-1"]])
    await send("DELETE", "/tgt-1")
    expect(changed).toEqual([["mc-1"], ["mc-1"]])
  })

  test("leave their jobs behind and take their mappings along when they are deleted", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await send("POST", "", { ...nginx, id: "tgt-1" })
    await insertCertificate(db, { id: "mc-1" })
    await mapTarget(db, "mc-1", "tgt-1")
    await insertJob(db, { type: "Deployment", status: "Completed", certificateId: "mc-1", targetId: "tgt-1" })
    expect((await send("DELETE", "/tgt-1")).status).toBe(204)
    expect(await db.read.select().from(db.t.certificateTargets)).toEqual([])
    expect((await db.read.select().from(db.t.jobs)).map(({ targetId }) => targetId)).toEqual([null])
  })

  test("are tested by the state of their agent, and remember the outcome", async () => {
    const db = await openDb()
    const { send, actionsOn } = setUp(db)
    const setAgent = (values: Partial<typeof db.t.agents.$inferInsert>) =>
      db.transaction(async (tx) => void (await tx.update(db.t.agents).set(values)))
    await insertAgent(db, { id: "agent-1", name: "web-1" })
    await send("POST", "", { ...nginx, id: "tgt-1" })
    const outcome = async () => {
      const { status, body } = await send("POST", "/tgt-1/test")
      expect(status).toBe(200)
      expect((await send("GET", "/tgt-1")).body.test_status).toBe(body.status)
      return body
    }
    expect(await outcome()).toEqual({ status: "failed", message: "its agent web-1 has never been heard of" })
    await setAgent({ lastHeartbeatAt: new Date("2029-12-31T23:58:00Z"), status: "Online" })
    expect(await outcome()).toEqual({ status: "success", message: "" })
    await setAgent({ status: "Offline" })
    expect((await outcome()).message).toContain("web-1 is Offline")
    await setAgent({ status: "Online", lastHeartbeatAt: new Date("2029-12-31T23:50:00Z") })
    expect((await outcome()).message).toContain("web-1 is silent")
    await setAgent({ retiredAt: new Date("2029-12-31T23:59:00Z") })
    expect((await outcome()).message).toContain("web-1 was retired")
    expect((await actionsOn("tgt-1")).slice(1, 3)).toEqual([
      "target_test_connection_failed",
      "target_test_connection_success",
    ])
    expect((await send("POST", "/tgt-none/test")).status).toBe(404)
  })

  test("are written by operators only", async () => {
    const { send } = setUp(await openDb(), viewerActor)
    expect((await send("POST", "", nginx)).status).toBe(403)
    expect((await send("POST", "/tgt-1/test")).status).toBe(403)
  })
})
