import { expect, test } from "bun:test"
import { agentActor, operatorActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { onEachDialect } from "../testing/on-each-dialect"
import { agentKeyHash } from "./agent.service"

onEachDialect("agents", (openDb) => {
  test("register once per name, and see their key this once", async () => {
    const db = await openDb()
    const { send, server, eventsOf } = await lifecycleApi(db)
    const { status, body } = await send("POST", "/agents", { name: "web1", hostname: "web1.example.com", os: "linux" })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      status: "Online",
      os: "linux",
      architecture: "",
      last_heartbeat_at: body.registered_at,
    })
    expect(body.id).toStartWith("agent-")
    expect((await server.agents.findByKeyHash(agentKeyHash(body.api_key)))?.id).toBe(body.id)
    const shown = (await send("GET", `/agents/${body.id}`)).body
    expect(shown).not.toHaveProperty("api_key")
    expect(JSON.stringify(shown)).not.toContain(agentKeyHash(body.api_key))
    expect((await send("POST", "/agents", { name: "web1", hostname: "x" })).status).toBe(409)
    expect((await send("POST", "/agents", { hostname: "x" })).body.message).toBe("name is required")
    expect((await eventsOf(body.id)).map(({ action }) => action)).toEqual(["agent_registered"])
    expect(await server.agents.findByKeyHash("")).toBeNull()
  })

  test("with a join token register exactly once, and leave it whole when they cannot", async () => {
    const { as, send, server, clock } = await lifecycleApi(await openDb())
    const { body: made } = await send("POST", "/join-tokens", { ttl_seconds: 600 })
    expect(made.token).toBe(`${made.id}.${made.token.split(".")[1]}.ca-fingerprint`)
    const [listed] = (await send("GET", "/join-tokens")).body.data
    expect(JSON.stringify(listed)).not.toContain(made.token.split(".")[1])
    expect((await server.tokens.check(made.token))?.id).toBe(made.id)
    expect(await server.tokens.check(`${made.id}.wrong.x`)).toBeNull()
    expect(await server.tokens.check("")).toBeNull()

    const join = as({ ...operatorActor, joinTokenId: made.id })
    expect((await join("POST", "/agents", { name: "agent-1", hostname: "taken" })).status).toBe(409)
    const both = await Promise.all(["one", "two"].map((name) => join("POST", "/agents", { name, hostname: name })))
    expect(both.map(({ status }) => status).sort()).toEqual([201, 401])
    expect(both.find(({ status }) => status === 401)?.body.message).toBe("invalid_or_missing_bootstrap_token")
    expect(await server.tokens.check(made.token)).toBeNull()

    const { body: late } = await send("POST", "/join-tokens", { ttl_seconds: 60 })
    clock.advance(60_000)
    expect(await server.tokens.check(late.token)).toBeNull()
    const tooLate = as({ ...operatorActor, joinTokenId: late.id })
    expect((await tooLate("POST", "/agents", { name: "three", hostname: "three" })).status).toBe(401)
    expect((await send("DELETE", `/join-tokens/${late.id}`)).status).toBe(204)
    expect((await send("DELETE", `/join-tokens/${late.id}`)).status).toBe(404)
  })

  test("show life by any heartbeat, which overwrites only what it says", async () => {
    const { send, server, clock } = await lifecycleApi(await openDb())
    const beat = async (body: object | string) => (await send("POST", "/agents/agent-1/heartbeat", body)).status
    expect(await beat({ version: "2.0.0", hostname: "", os: "linux", ip_address: "192.0.2.1" })).toBe(200)
    clock.advance(180_000)
    expect((await server.agents.markSilent(120_000)).sort()).toEqual(["agent-1", "agent-2", "agent-3"])
    expect(await server.agents.markSilent(120_000)).toEqual([])
    expect((await send("GET", "/agents?status=Offline")).body.total).toBe(3)
    expect(await beat("this is no JSON")).toBe(200)
    expect((await send("GET", "/agents/agent-1")).body).toMatchObject({
      status: "Online",
      version: "2.0.0",
      hostname: "agent-1",
      last_heartbeat_at: "2030-01-01T00:03:00.000Z",
    })
    expect((await send("POST", "/agents/nobody/heartbeat", {})).status).toBe(404)
  })
})

onEachDialect("the retirement of an agent", (openDb) => {
  test("goes through its eight steps in order", async () => {
    const db = await openDb()
    const { send, map, jobsOf, eventsOf } = await lifecycleApi(db)
    await db.transaction(async (tx) => {
      const row = { id: "server-scanner", name: "scanner", hostname: "", registeredAt: new Date(0) }
      await tx.insert(db.t.agents).values(row)
    })
    const retire = (id: string, query = "") => send("DELETE", `/agents/${id}${query}`)
    expect((await retire("server-scanner", "?force=true&reason=x")).status).toBe(403)
    expect((await retire("nobody", "?force=true")).status).toBe(404)

    await map("mc-inside", "agent-1-a", "agent-2-a")
    await send("POST", "/certificates/mc-inside/renew")
    const counts = { active_targets: 2, active_certificates: 1, pending_jobs: 1 }
    expect((await retire("agent-1", "?force=1")).status).toBe(400)
    const blocked = await retire("agent-1", "?force=yes&reason=old")
    expect(blocked).toMatchObject({ status: 409, body: { error: "blocked_by_dependencies", counts } })
    expect((await send("GET", "/agents/agent-1")).body).not.toHaveProperty("retired_at")

    const done = await retire("agent-1", "?force=true&reason=old%20hardware")
    expect(done).toEqual({
      status: 200,
      body: { retired_at: "2030-01-01T00:00:00.000Z", already_retired: false, cascade: true, counts },
    })
    expect((await jobsOf("mc-inside")).map((job) => [job.agentId, job.status, job.lastError])).toEqual([
      ["agent-1", "Cancelled", "agent agent-1 was retired: old hardware"],
      ["agent-2", "AwaitingCSR", null],
    ])
    const targets = (await send("GET", "/certificates/mc-inside/deployments")).body.data
    expect(targets[0]).toMatchObject({ id: "agent-1-a", retired_reason: "old hardware" })
    expect((await eventsOf("agent-1")).map(({ action }) => action)).toEqual([
      "agent_retired",
      "agent_retirement_cascaded",
    ])
    expect(await retire("agent-1")).toEqual({ status: 204, body: null })
    expect(await eventsOf("agent-1")).toHaveLength(2)
  })

  test("of one that nothing depends on needs no force, and frees its name", async () => {
    const { send, eventsOf } = await lifecycleApi(await openDb())
    const { body } = await send("POST", "/agents", { name: "spare", hostname: "spare" })
    const gone = await send("DELETE", `/agents/${body.id}`)
    expect(gone).toMatchObject({ status: 200, body: { cascade: false, counts: { active_targets: 0 } } })
    expect((await eventsOf(body.id)).map(({ action }) => action)).toEqual(["agent_registered", "agent_retired"])
    expect((await send("GET", "/agents")).body.total).toBe(3)
    expect((await send("GET", "/agents/retired")).body).toMatchObject({ total: 1, data: [{ status: "Offline" }] })
    expect((await send("GET", `/agents/${body.id}`)).status).toBe(200)
    expect((await send("POST", "/agents", { name: "spare", hostname: "spare" })).status).toBe(201)
  })

  test("ends all its routes with 410", async () => {
    const { as, send } = await lifecycleApi(await openDb())
    const { id } = (await send("POST", "/agents", { name: "spare", hostname: "spare" })).body
    await send("DELETE", `/agents/${id}`)
    const own = as(agentActor(id))
    expect((await own("POST", `/agents/${id}/heartbeat`, {})).status).toBe(410)
    expect((await own("GET", `/agents/${id}/work?wait=25`)).status).toBe(410)
    expect((await own("POST", `/agents/${id}/csr`, { csr_pem: "x" })).status).toBe(410)
    expect((await own("GET", `/agents/${id}/certificates/mc-inside`)).status).toBe(410)
    expect((await own("POST", `/agents/${id}/jobs/job-1/status`, { status: "Failed" })).status).toBe(410)
  })

  test("gives a certificate the dates of the agents that are left", async () => {
    const { send, map, server, csrFor, clock } = await lifecycleApi(await openDb())
    await map("mc-inside", "agent-1-a", "agent-2-a")
    for (const agentId of ["agent-1", "agent-2"]) {
      const csrPem = await csrFor("mc-inside")
      await server.issuance.submitCsr({ agentId, certificateId: "mc-inside", csrPem }, operatorActor)
      clock.advance(86_400_000)
    }
    expect((await send("GET", "/certificates/mc-inside")).body.expires_at).toBe("2030-04-01T00:00:00.000Z")
    await send("DELETE", "/agents/agent-1?force=true&reason=gone")
    expect((await send("GET", "/certificates/mc-inside")).body.expires_at).toBe("2030-04-02T00:00:00.000Z")
  })
})
