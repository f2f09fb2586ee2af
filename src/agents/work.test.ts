import { describe, expect, test } from "bun:test"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { jobStore } from "../jobs/job.store"
import { jobQueueService } from "../jobs/job-queue.service"
import { parseCertificate } from "../pki/certificate"
import { windowService } from "../rollouts/window.service"
import { targetStore } from "../targets/target.store"
import { agentActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { onEachDialect } from "../testing/on-each-dialect"
import { until } from "../testing/until"
import { keyWish, readPoll } from "./work.service"

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

  const berlinNight = { timeZone: "Europe/Berlin", windows: [{ days: ["sat"], from: "22:00", to: "23:00" }] } as const
  const setWindows = (db: Db, deploymentWindows: typeof berlinNight | null) =>
    db.transaction(async (tx) => void (await tx.update(db.t.deploymentTargets).set({ deploymentWindows })))

  const advanceTo = (clock: { now(): Date; advance(ms: number): void }, time: string) =>
    clock.advance(Date.parse(time) - clock.now().getTime())

  const windowsOf = (
    db: Db,
    { clock, audit }: Awaited<ReturnType<typeof lifecycleApi>>["server"] & { clock: Clock },
  ) => {
    const jobs = jobStore(db)
    return windowService({
      ...{ db, clock, jobs },
      queue: jobQueueService({ db, clock, jobs, audit }),
      windowsOf: targetStore(db).windowsOf,
    })
  }

  test("waits for the windows of its target, says so, and begins when they open", async () => {
    const db = await openDb()
    const api = await lifecycleApi(db)
    await setWindows(db, berlinNight)
    await api.map("mc-inside", "agent-1-a")
    const csrPem = await api.csrFor("mc-inside")
    await api.send("POST", "/agents/agent-1/csr", { csr_pem: csrPem, certificate_id: "mc-inside" })
    const windows = windowsOf(db, { ...api.server, clock: api.clock })
    const poll = async () => (await api.send("GET", "/agents/agent-1/work?holding=")).body.jobs
    const job = async () => {
      const [only] = (await api.jobsOf("mc-inside")).filter(({ type }) => type === "Deployment")
      return only
    }
    const hold = "outside the deployment windows of agent-1-a: it may begin at 2030-01-05T21:00:00.000Z"
    expect(await poll()).toEqual([])
    expect(await job()).toMatchObject({ status: "Pending", hold })
    await windows.release(never)
    expect(await job()).toMatchObject({ status: "Pending", hold })

    // The window opens, and shuts again before the agent has asked.
    advanceTo(api.clock, "2030-01-05T21:00:00Z")
    await windows.release(never)
    expect(await job()).toMatchObject({ status: "Pending", hold: null })
    advanceTo(api.clock, "2030-01-05T22:00:00Z")
    expect(await poll()).toEqual([])
    expect((await job())?.hold).toContain("2030-01-12T21:00:00.000Z")

    advanceTo(api.clock, "2030-01-12T21:30:00Z")
    await windows.release(never)
    expect(await poll()).toMatchObject([{ type: "Deployment", target_id: "agent-1-a" }])
  })

  test("does not wait for windows that are gone, or that somebody passes over", async () => {
    const db = await openDb()
    const api = await lifecycleApi(db)
    await setWindows(db, berlinNight)
    await api.map("mc-inside", "agent-1-a")
    const csrPem = await api.csrFor("mc-inside")
    await api.send("POST", "/agents/agent-1/csr", { csr_pem: csrPem, certificate_id: "mc-inside" })
    const poll = async () => (await api.send("GET", "/agents/agent-1/work?holding=")).body.jobs
    expect(await poll()).toEqual([])
    expect((await api.send("POST", "/certificates/mc-inside/deploy", { ignore_windows: true })).status).toBe(202)
    expect(await poll()).toMatchObject([{ type: "Deployment", target_id: "agent-1-a" }])

    expect((await api.send("POST", "/certificates/mc-inside/deploy", {})).status).toBe(202)
    expect(await poll()).toEqual([])
    await setWindows(db, null)
    const windows = windowsOf(db, { ...api.server, clock: api.clock })
    await windows.release(never)
    expect(await poll()).toHaveLength(1)
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

test("a profile's rules become a wish for the first kind of key that agents can make", () => {
  const ecdsa = (min_size: number) => ({ algorithm: "ECDSA" as const, min_size })
  const rsa = (min_size: number) => ({ algorithm: "RSA" as const, min_size })
  const ed25519 = { algorithm: "Ed25519" as const, min_size: 256 }
  const cases: [rules: Parameters<typeof keyWish>[0], wish: string | undefined][] = [
    [[], undefined],
    [[ecdsa(256), rsa(2048)], undefined],
    [[rsa(2048), ecdsa(256)], undefined],
    [[ecdsa(256)], "ECDSA-P256"],
    [[ecdsa(384)], "ECDSA-P384"],
    [[ecdsa(400)], "ECDSA-P521"],
    [[rsa(3000), ecdsa(256)], "RSA-3072"],
    [[rsa(8192), ed25519], "Ed25519"],
    [[rsa(8192)], undefined],
  ]
  for (const [rules, wish] of cases) expect(keyWish(rules).key_algorithm).toBe(wish as string)
})
