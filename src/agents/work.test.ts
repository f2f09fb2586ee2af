import { describe, expect, test } from "bun:test"
import { parseCertificate } from "../pki/certificate"
import { agentActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { onEachDialect } from "../testing/on-each-dialect"
import { until } from "../testing/until"
import { readPoll } from "./work.service"

const never = new AbortController().signal

describe("the query of a poll", () => {
  test("is read leniently", () => {
    expect(readPoll({})).toEqual({ waitSeconds: 0, holding: null })
    expect(readPoll({ wait: "99", holding: "" })).toEqual({ waitSeconds: 25, holding: [] })
    expect(readPoll({ wait: "-1", holding: " a ,,b" })).toEqual({ waitSeconds: 0, holding: ["a", "b"] })
    expect(readPoll({ wait: "soon" }).waitSeconds).toBe(0)
    expect(readPoll({ holding: Array(200).fill("x").join() }).holding).toHaveLength(100)
  })
})

onEachDialect("work", (openDb) => {
  const withVersion = async () => {
    const api = await lifecycleApi(await openDb())
    await api.map("mc-inside", "agent-1-a", "agent-1-b")
    const csrPem = await api.csrFor("mc-inside")
    await api.send("POST", "/agents/agent-1/csr", { csr_pem: csrPem, certificate_id: "mc-inside" })
    const poll = async (query = "") => (await api.send("GET", `/agents/agent-1/work${query}`)).body
    return { ...api, poll }
  }

  test("names what an agent needs: keys to make, and deployments with the whole configuration", async () => {
    const { poll, send, clock } = await withVersion()
    clock.advance(1000)
    await send("POST", "/certificates/mc-inside/renew")
    const { jobs, count } = await poll()
    expect(count).toBe(3)
    const [version] = (await send("GET", "/certificates/mc-inside/versions")).body.data
    const deployment = {
      id: expect.stringContaining("job-"),
      type: "Deployment",
      certificate_id: "mc-inside",
      target_type: "NGINX",
      target_config: {},
      status: "Running",
      version_id: version.id,
      fingerprint_sha256: version.fingerprint_sha256,
    }
    expect(jobs).toEqual([
      { ...deployment, target_id: "agent-1-a" },
      { ...deployment, target_id: "agent-1-b" },
      {
        id: expect.any(String),
        type: "Renewal",
        certificate_id: "mc-inside",
        common_name: "mc-inside.example.com",
        sans: ["www.mc-inside.example.com"],
        status: "AwaitingCSR",
      },
    ])
    expect(await poll()).toMatchObject({ count: 1, jobs: [{ type: "Renewal" }] })
    expect((await send("GET", "/agents/agent-2/work")).body).toEqual({ jobs: [], count: 0 })
    expect((await send("GET", "/agents/nobody/work")).status).toBe(404)
  })

  test("is never handed to two polls, however many ask at once", async () => {
    const { server } = await withVersion()
    const polls = await Promise.all(
      Array.from({ length: 8 }, () => server.work.poll("agent-1", { waitSeconds: 0, holding: null }, never)),
    )
    const ids = polls.flat().map((item) => item.id)
    expect(ids).toHaveLength(2)
    expect(new Set(ids).size).toBe(2)
  })

  test("that an agent no longer holds comes again, until its attempts are used up", async () => {
    const { poll, jobsOf, clock } = await withVersion()
    const [first] = (await poll("?holding=")).jobs
    expect((await poll(`?holding=${first.id}`)).jobs.map((job: { target_id: string }) => job.target_id)).toEqual([
      "agent-1-b",
    ])
    // A client that does not say what it holds is given five minutes.
    expect((await poll()).count).toBe(0)
    clock.advance(300_001)
    expect((await poll()).count).toBe(2)
    expect((await poll("?holding=")).count).toBe(1)
    expect((await poll("?holding=")).count).toBe(0)
    expect(await jobsOf("mc-inside")).toMatchObject([
      { status: "Failed", attempts: 3, lastError: expect.stringContaining("without a report") },
      { status: "Failed", attempts: 3 },
    ])
  })

  test("that is lost is handed out once per attempt, also to polls at the same time", async () => {
    const { server, poll, jobsOf } = await withVersion()
    await poll("?holding=")
    const both = await Promise.all(
      [1, 2].map(() => server.work.poll("agent-1", { waitSeconds: 0, holding: [] }, never)),
    )
    const attempts = (await jobsOf("mc-inside")).map((job) => job.attempts)
    expect(2 + both.flat().length).toBe(attempts.reduce((sum, n) => sum + n, 0))
    expect(both.flat().length).toBeGreaterThanOrEqual(2)
  })

  test("ends a waiting poll as soon as there is some", async () => {
    const db = await openDb()
    const { server, send, map } = await lifecycleApi(db)
    await map("mc-inside", "agent-1-a")
    // A server that has just connected does not hear of what happened before.
    let isListening = false
    db.onSignal("probe", () => {
      isListening = true
    })
    await until("signals are heard", async () => {
      await db.transaction(async (tx) => db.signal(tx, "probe"))
      return isListening
    })
    let answered = false
    const waiting = server.work.poll("agent-1", { waitSeconds: 25, holding: [] }, never).finally(() => {
      answered = true
    })
    const other = new AbortController()
    const idle = server.work.poll("agent-2", { waitSeconds: 25, holding: [] }, other.signal)
    await send("POST", "/certificates/mc-inside/renew")
    await until("the poll is answered", () => answered)
    expect(await waiting).toMatchObject([{ certificate_id: "mc-inside", status: "AwaitingCSR" }])
    other.abort()
    expect(await idle).toEqual([])
  })

  test("claims nothing for a poll that was given up, and answers all when the server stops", async () => {
    const { server, jobsOf } = await withVersion()
    expect(await server.work.poll("agent-1", { waitSeconds: 25, holding: [] }, AbortSignal.abort())).toEqual([])
    expect((await jobsOf("mc-inside")).map((job) => job.status)).toEqual(["Pending", "Pending"])
    const waiting = server.work.poll("agent-2", { waitSeconds: 25, holding: [] }, never)
    server.work.close()
    expect(await waiting).toEqual([])
  })

  test("is fetched by the agent it belongs to, the newest version or the one named", async () => {
    const { as, send, csrFor, clock, map, eventsOf } = await withVersion()
    clock.advance(1000)
    await send("POST", "/agents/agent-1/csr", { csr_pem: await csrFor("mc-inside"), certificate_id: "mc-inside" })
    const [newest, oldest] = (await send("GET", "/certificates/mc-inside/versions")).body.data
    const fetched = async (agentId: string, query = "") => {
      const { status, body } = await as(agentActor(agentId))("GET", `/agents/${agentId}/certificates/mc-inside${query}`)
      return status === 200
        ? parseCertificate(body.certificate_pem.split(/(?<=-----END CERTIFICATE-----)/)[0]).fingerprint
        : status
    }
    expect(await fetched("agent-1")).toBe(newest.fingerprint_sha256)
    expect(await fetched("agent-1", `?version_id=${oldest.id}`)).toBe(oldest.fingerprint_sha256)
    expect(await fetched("agent-2")).toBe(404)
    await map("mc-inside", "agent-1-a", "agent-2-a")
    expect(await fetched("agent-2")).toBe(404)
    expect(await fetched("agent-2", `?version_id=${newest.id}`)).toBe(404)
    expect((await eventsOf("mc-inside")).filter(({ action }) => action === "certificate_retrieved")).toHaveLength(2)
    const foreign = await as(agentActor("agent-1"))("GET", "/agents/agent-2/work")
    expect(foreign.status).toBe(403)
  })
})
