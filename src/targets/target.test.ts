import { expect, test } from "bun:test"
import { systemActor } from "../access/actor"
import { mask } from "../connectors/stored-config"
import type { Db } from "../db/db"
import { jobStore } from "../jobs/job.store"
import { jobQueueService } from "../jobs/job-queue.service"
import { openSealer } from "../secrets/sealing"
import { viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertAgent, insertCertificate, insertJob, mapTarget } from "../testing/rows"
import { until } from "../testing/until"
import { targetRoutes } from "./target.routes"
import { targetService } from "./target.service"
import { targetStore } from "./target.store"
import { targetCheckService } from "./target-check.service"

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
  const jobs = jobStore(db)
  const queue = jobQueueService({ ...parts, jobs })
  const checks = targetCheckService({
    ...parts,
    targets: targetStore(db),
    jobs,
    queue,
    patience: { answerMs: 3000, claimMs: 200 },
  })
  const send = resourceApi("targets", targetRoutes(targets, checks), actor)
  return { ...parts, targets, changed, jobs, queue, checks, send }
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
    expect((await targets.whole("tgt-1")).config).toEqual(config)
  })

  test("keep masked secrets on a change, unless another agent would get them", async () => {
    const db = await openDb()
    const { send, targets } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await insertAgent(db, { id: "agent-2" })
    await send("POST", "", { ...nginx, id: "tgt-1", config: { ...nginx.config, api_token: "t0ken" } })
    const shown = (await send("GET", "/tgt-1")).body.config
    expect((await send("PUT", "/tgt-1", { config: { ...shown, note: "x" } })).status).toBe(200)
    expect((await targets.whole("tgt-1")).config).toEqual({ ...nginx.config, api_token: "t0ken", note: "x" })
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

  test("are tested by their agent's own words, where it takes checks", async () => {
    const db = await openDb()
    const { send, actionsOn, jobs, queue, checks } = setUp(db)
    const heard = { status: "Online", lastHeartbeatAt: new Date("2029-12-31T23:59:00Z"), takesChecks: true } as const
    await insertAgent(db, { id: "agent-1", name: "web-1", ...heard })
    await send("POST", "", { ...nginx, id: "tgt-1" })
    const waiting = () => jobs.claimableChecks(db.read, "agent-1", 10)

    // As the agent does it, by way of work poll and report.
    const answers = async (status: "Completed" | "Failed", lastError: string | null) => {
      const asked = send("POST", "/tgt-1/test")
      await until("there is a check to do", async () => (await waiting()).length === 1)
      const [job] = await waiting()
      if (job === undefined) throw new Error("there is no job")
      expect(job).toMatchObject({ type: "Validation", targetId: "tgt-1", certificateId: null, maxAttempts: 1 })
      const by = { actor: systemActor, action: "x" }
      await db.transaction(async (tx) => {
        const running = await queue.move(tx, job, "Running", by)
        const moved = running && (await queue.move(tx, running, status, { ...by, set: { lastError } }))
        if (moved) await checks.reported(tx, moved, systemActor)
      })
      expect((await send("GET", "/tgt-1")).body.test_status).toBe(status === "Completed" ? "success" : "failed")
      return (await asked).body
    }
    expect(await answers("Completed", null)).toEqual({ status: "success", message: "" })
    const refusal = "validate_command (nginx -t) ended with code 1: unknown directive"
    expect(await answers("Failed", refusal)).toEqual({ status: "failed", message: refusal })

    // Nobody takes it: the job is taken back, so that nobody does it later.
    const { body } = await send("POST", "/tgt-1/test")
    expect(body).toEqual({
      status: "failed",
      message: "its agent is Online, but has not taken the check within 0.2 s",
    })
    expect(await waiting()).toEqual([])
    expect(await actionsOn("tgt-1")).toEqual([
      "create_target",
      "target_test_connection_success",
      "target_test_connection_failed",
      "target_test_connection_failed",
    ])
  })

  const nightly = { time_zone: "Europe/Berlin", windows: [{ days: ["sat", "sun"], from: "22:00", to: "04:00" }] }

  test("have deployment windows, in the order of the week", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    const windows = { ...nightly, windows: [{ ...nightly.windows[0], days: ["sun", "sat", "sun"] }] }
    const created = await send("POST", "", { ...nginx, id: "tgt-1", deployment_windows: windows })
    expect(created.body.deployment_windows).toEqual(nightly)
    expect((await send("PUT", "/tgt-1", { enabled: false })).body.deployment_windows).toEqual(nightly)
    expect((await send("PUT", "/tgt-1", { deployment_windows: null })).body.deployment_windows).toBeUndefined()
  })

  test("refuse windows that can never be met, naming why", async () => {
    const db = await openDb()
    const { send } = setUp(db)
    await insertAgent(db, { id: "agent-1" })
    await send("POST", "", { ...nginx, id: "tgt-1" })
    const save = async (windows: unknown) => (await send("PUT", "/tgt-1", { deployment_windows: windows })).body
    const window = nightly.windows[0]
    expect((await save({ ...nightly, windows: [] })).message).toMatch(/windows must hold a window/)
    expect((await save({ ...nightly, windows: [{ ...window, days: [] }] })).message).toMatch(/days must name a day/)
    expect((await save({ ...nightly, windows: [{ ...window, to: "22:00" }] })).message).toMatch(/can never be met/)
    expect((await save({ ...nightly, windows: [{ ...window, from: "25:00" }] })).message).toMatch(/from must be a time/)
    expect((await save({ ...nightly, time_zone: "Mars/Base" })).message).toMatch(/time_zone must be the name/)

    // It is Tuesday; what expires on Thursday cannot wait for Saturday.
    await insertCertificate(db, { id: "mc-1", expiresAt: new Date("2030-01-03T00:00:00Z") })
    await mapTarget(db, "mc-1", "tgt-1")
    expect((await save(nightly)).message).toMatch(
      /deployment_windows can never be met for certificate mc-1: it expires/,
    )
    await db.transaction(async (tx) => {
      const dates = { expiresAt: new Date("2030-01-09T00:00:00Z"), renewAt: new Date("2030-01-08T00:00:00Z") }
      await tx.update(db.t.certificates).set(dates)
    })
    expect((await save(nightly)).message).toMatch(
      /must open more often: they stay shut for up to 138 hours, and certificate mc-1 is renewed 24 hours before/,
    )
    expect((await send("GET", "/tgt-1")).body.deployment_windows).toBeUndefined()
  })

  test("are written by operators only", async () => {
    const { send } = setUp(await openDb(), viewerActor)
    expect((await send("POST", "", nginx)).status).toBe(403)
    expect((await send("POST", "/tgt-1/test")).status).toBe(403)
  })
})
