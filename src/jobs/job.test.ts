import { expect, test } from "bun:test"
import type { Actor } from "../access/actor"
import { anonymousActor } from "../access/actor"
import type { Db } from "../db/db"
import { agentActor, operatorActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertJob } from "../testing/rows"
import { until } from "../testing/until"

const never = new AbortController().signal
const fingerprint = "ab".repeat(32)

/** A certificate with a version at agent-1 and its deployment, handed out. */
const deployed = async (db: Db) => {
  const api = await lifecycleApi(db)
  await api.map("mc-inside", "agent-1-a")
  await api.send("POST", "/agents/agent-1/csr", { csr_pem: await api.csrFor("mc-inside"), certificate_id: "mc-inside" })
  const [item] = await api.server.work.poll("agent-1", { waitSeconds: 0, holding: [] }, never)
  if (item === undefined) throw new Error("there is nothing to deploy")
  const report = async (status: string, error?: string, agentId = "agent-1") =>
    (await api.as(agentActor(agentId))("POST", `/agents/${agentId}/jobs/${item.id}/status`, { status, error })).status
  const job = async () => (await api.send("GET", `/jobs/${item.id}`)).body
  return { ...api, id: item.id, report, job }
}

onEachDialect("an agent's report", (openDb) => {
  test("of success completes the deployment and dates the certificate", async () => {
    const { report, job, send, eventsOf, id, server } = await deployed(await openDb())
    expect(await report("Running")).toBe(200)
    expect(await job()).toMatchObject({ status: "Running" })
    expect(await report("Completed")).toBe(200)
    expect(await job()).toMatchObject({ status: "Completed", completed_at: "2030-01-01T00:00:00.000Z" })
    expect((await send("GET", "/certificates/mc-inside")).body.last_deployment_at).toBe("2030-01-01T00:00:00.000Z")
    const seen = await server.observations.newest(["mc-inside"])
    const [version] = (await send("GET", "/certificates/mc-inside/versions")).body.data
    expect(seen).toMatchObject([{ kind: "delivered", ok: true, fingerprint: version.fingerprint_sha256 }])
    expect((await eventsOf(id)).map(({ action }) => action)).toEqual([
      "deployment_job_dispatched",
      "job_status_reported",
      "deployment_job_completed",
      "job_status_reported",
    ])
  })

  test("of failure says why, is retried, and never counts as delivered", async () => {
    const { report, job, server, send } = await deployed(await openDb())
    expect(await report("Failed", "nginx -t failed")).toBe(200)
    expect(await job()).toMatchObject({ status: "Failed", last_error: "nginx -t failed", attempts: 1 })
    expect(await server.observations.newest(["mc-inside"])).toMatchObject([{ ok: false, fingerprint: "" }])
    expect((await send("GET", "/certificates/mc-inside")).body).not.toHaveProperty("last_deployment_at")
    expect(await server.processor.retry(never)).toBe(1)
    expect(await job()).toMatchObject({ status: "Pending" })
    expect(await job()).not.toHaveProperty("last_error")
  })

  test("that repeats the state changes nothing, and one that contradicts the end is refused", async () => {
    const { report, job } = await deployed(await openDb())
    expect(await report("Done")).toBe(400)
    expect(await report("")).toBe(400)
    expect(await report("Completed", undefined, "agent-2")).toBe(404)
    expect(await report("Failed", "first")).toBe(200)
    expect(await report("Failed", "again")).toBe(200)
    expect(await job()).toMatchObject({ status: "Failed", last_error: "again", attempts: 1 })
    expect(await report("Completed")).toBe(409)
  })

  test("on what was completed or cancelled is refused with 409, on what does not exist with 404", async () => {
    const { report, as, send, id } = await deployed(await openDb())
    expect(
      (await as(agentActor("agent-1"))("POST", "/agents/agent-1/jobs/job-0/status", { status: "Failed" })).status,
    ).toBe(404)
    expect((await send("POST", `/jobs/${id}/cancel`)).status).toBe(200)
    expect(await report("Completed")).toBe(409)
    expect(await report("Failed")).toBe(409)
  })
})

onEachDialect("a verification", (openDb) => {
  const body = {
    target_id: "agent-1-a",
    expected_fingerprint: fingerprint,
    actual_fingerprint: fingerprint,
    verified: true,
  }

  test("is stored with what was seen, and never changes the job's status", async () => {
    const { send, as, id, job, server } = await deployed(await openDb())
    const before = (await send("GET", `/jobs/${id}/verification`)).body
    expect(before).toMatchObject({ verified: false, expected_fingerprint: "", verified_at: "0001-01-01T00:00:00Z" })
    const own = as(agentActor("agent-1"))
    const answer = await own("POST", `/jobs/${id}/verify`, body)
    expect(answer).toEqual({
      status: 200,
      body: { job_id: id, verified: true, verified_at: "2030-01-01T00:00:00.000Z" },
    })
    expect(await job()).toMatchObject({ status: "Running", verification_status: "success" })
    expect((await send("GET", `/jobs/${id}/verification`)).body).toMatchObject({
      target_id: "agent-1-a",
      expected_fingerprint: fingerprint,
      actual_fingerprint: fingerprint,
      verified: true,
    })
    expect(await server.observations.newest(["mc-inside"])).toMatchObject([{ kind: "served", ok: true }])
    expect((await as(agentActor("agent-2"))("POST", `/jobs/${id}/verify`, body)).status).toBe(404)
  })

  test.each([
    [{ verified: false }, 200, "failed"],
    [{ actual_fingerprint: "cd".repeat(32) }, 200, "failed"],
    [{ error: "connection refused", actual_fingerprint: "", expected_fingerprint: "", verified: false }, 200, "failed"],
    [{ expected_fingerprint: fingerprint.toUpperCase() }, 200, "success"],
    [{ target_id: "" }, 400, "pending"],
    [{ target_id: "agent-2-a" }, 400, "pending"],
    [{ actual_fingerprint: "" }, 400, "pending"],
  ])("with %j is answered with %d and stored as %s", async (change, status, stored) => {
    const { send, id, job } = await deployed(await openDb())
    expect((await send("POST", `/jobs/${id}/verify`, { ...body, ...change })).status).toBe(status)
    expect((await job()).verification_status).toBe(stored)
    expect((await send("POST", "/jobs/job-0/verify", body)).status).toBe(404)
  })
})

onEachDialect("jobs", (openDb) => {
  test("are listed by what is asked for, newest first", async () => {
    const { send, map } = await lifecycleApi(await openDb())
    await map("mc-inside", "agent-1-a", "agent-2-a")
    await send("POST", "/certificates/mc-inside/renew")
    const total = async (query: string) => (await send("GET", `/jobs?${query}`)).body.total
    expect(await total("")).toBe(2)
    expect(await total("status=AwaitingCSR&type=Issuance&certificate_id=mc-inside")).toBe(2)
    expect(await total("agent_id=agent-2&status=")).toBe(1)
    expect(await total("status=NoSuchStatus")).toBe(0)
    expect((await send("GET", "/jobs/job-0")).status).toBe(404)
  })

  test.each(["Pending", "AwaitingCSR", "AwaitingApproval", "Running"] as const)(
    "that are %s can be cancelled",
    async (status) => {
      const db = await openDb()
      const { send, eventsOf } = await lifecycleApi(db)
      const { id } = await insertJob(db, { type: "Renewal", certificateId: "mc-inside", status })
      expect(await send("POST", `/jobs/${id}/cancel`)).toEqual({ status: 200, body: { status: "job_cancelled" } })
      expect((await send("GET", `/jobs/${id}`)).body).toMatchObject({
        status: "Cancelled",
        last_error: "cancelled by user",
      })
      expect((await send("POST", `/jobs/${id}/cancel`)).status).toBe(400)
      expect((await eventsOf(id)).map(({ action }) => action)).toEqual(["job_cancelled"])
      expect((await send("POST", "/jobs/job-0/cancel")).status).toBe(404)
    },
  )

  test("whose run ends without a certificate leave it Failed, and Active where it had one", async () => {
    const { send, map, csrFor, jobsOf } = await lifecycleApi(await openDb())
    await map("mc-inside", "agent-1-a")
    const cancelAll = async () => {
      for (const job of await jobsOf("mc-inside")) await send("POST", `/jobs/${job.id}/cancel`)
      return (await send("GET", "/certificates/mc-inside")).body.status
    }
    await send("POST", "/certificates/mc-inside/renew")
    expect(await cancelAll()).toBe("Failed")
    await send("POST", "/agents/agent-1/csr", { csr_pem: await csrFor("mc-inside"), certificate_id: "mc-inside" })
    await send("POST", "/certificates/mc-inside/renew")
    expect(await cancelAll()).toBe("Active")
  })
})

onEachDialect("the approval of a job", (openDb) => {
  const person = (name: string): Actor => ({ ...operatorActor, name })

  const waiting = async (db: Db, requestedBy: string) => {
    const api = await lifecycleApi(db)
    await api.map("mc-inside", "agent-1-a", "agent-2-a")
    const job = await insertJob(db, {
      type: "Renewal",
      certificateId: "mc-inside",
      status: "AwaitingApproval",
      requestedBy,
    })
    const decide = async (who: Actor, what: "approve" | "reject", body?: object) =>
      (await api.as(who)("POST", `/jobs/${job.id}/${what}`, body)).status
    return { ...api, id: job.id, decide }
  }

  test("is for others than who asked, and than who owns the certificate", async () => {
    const { decide } = await waiting(await openDb(), "anna")
    expect(await decide(person("anna"), "approve")).toBe(403)
    expect(await decide(person("anna"), "reject")).toBe(403)
    expect(await decide(person("OWNER"), "approve")).toBe(403)
    expect(await decide(person("Owner@Example.com"), "approve")).toBe(403)
    expect(await decide(person("bert"), "approve")).toBe(200)
    expect(await decide(person("bert"), "approve")).toBe(400)
    expect(await decide(person("bert"), "reject")).toBe(400)
  })

  test("knows nobody where authentication is off", async () => {
    const { decide } = await waiting(await openDb(), "api")
    expect(await decide(anonymousActor, "approve")).toBe(200)
    const other = await waiting(await openDb(), "api")
    expect(await other.decide(person("api"), "approve")).toBe(200)
  })

  test("opens a key request for every agent of the set", async () => {
    const { decide, server, jobsOf, send, id } = await waiting(await openDb(), "system")
    expect(await decide(person("bert"), "approve")).toBe(200)
    await server.processor.process(never)
    expect(
      (await jobsOf("mc-inside")).toSorted((a, b) => (a.agentId ?? "").localeCompare(b.agentId ?? "")),
    ).toMatchObject([
      { id, agentId: "agent-1", status: "AwaitingCSR" },
      { agentId: "agent-2", status: "AwaitingCSR" },
    ])
    expect((await send("GET", "/certificates/mc-inside")).body.status).toBe("RenewalInProgress")
    expect((await send("POST", "/jobs/job-0/approve")).status).toBe(404)
  })

  test.each([
    [undefined, "rejected by user"],
    [{ reason: "not before Monday" }, "rejected: not before Monday"],
  ])("refused with %j ends the job for good", async (body, lastError) => {
    const { decide, send, id, server, clock } = await waiting(await openDb(), "system")
    expect(await decide(person("owner"), "reject", body)).toBe(200)
    expect((await send("GET", `/jobs/${id}`)).body).toMatchObject({ status: "Cancelled", last_error: lastError })
    clock.advance(86_400_000)
    expect(await server.processor.retry(never)).toBe(0)
  })

  test("that nobody gives within a week ends the job for good", async () => {
    const { send, id, server, clock, eventsOf } = await waiting(await openDb(), "system")
    clock.advance(8 * 86_400_000)
    await server.processor.reap()
    expect((await send("GET", `/jobs/${id}`)).body).toMatchObject({
      status: "Failed",
      last_error: expect.stringContaining("approval_timeout"),
    })
    expect(await eventsOf(id)).toMatchObject([
      { action: "job_timeout", details: { timeout_reason: "approval_timeout" } },
    ])
    clock.advance(86_400_000)
    expect(await server.processor.retry(never)).toBe(0)
  })
})

onEachDialect("the loops over jobs", (openDb) => {
  test("fail a deployment whose agent went silent, and it comes again", async () => {
    const { clock, server, job } = await deployed(await openDb())
    clock.advance(301_000)
    await server.processor.reap()
    expect(await job()).toMatchObject({ status: "Failed", last_error: expect.stringContaining("agent offline") })
    expect(await server.processor.retry(never)).toBe(1)
  })

  test("never put an older version back over a newer one", async () => {
    const { clock, report, server, send, csrFor, job } = await deployed(await openDb())
    await report("Failed", "the disk is full")
    clock.advance(1000)
    await send("POST", "/agents/agent-1/csr", { csr_pem: await csrFor("mc-inside"), certificate_id: "mc-inside" })
    expect(await server.processor.retry(never)).toBe(0)
    expect(await job()).toMatchObject({ status: "Failed", attempts: 1, max_attempts: 1 })
  })

  test("take up what a dead server had in hand, and only once", async () => {
    const { send, map, ca, csrFor, server, clock, jobsOf } = await lifecycleApi(await openDb(), { answerWithinMs: 20 })
    await map("mc-outside", "agent-1-a")
    await send("POST", "/certificates/mc-outside/renew")
    ca.be("lose-answer")
    await send("POST", "/agents/agent-1/csr", { csr_pem: await csrFor("mc-outside"), certificate_id: "mc-outside" })
    expect(await jobsOf("mc-outside")).toMatchObject([{ status: "Running", leaseHolder: "server-1", attempts: 1 }])
    server.issuance.inHand.clear()
    clock.advance(119_000)
    await server.processor.process(never)
    expect(await jobsOf("mc-outside")).toMatchObject([{ status: "Running" }])
    clock.advance(2000)
    await Promise.all([server.processor.process(never), server.processor.process(never)])
    expect(await jobsOf("mc-outside")).toMatchObject([{ status: "AwaitingCSR", attempts: 2, leaseHolder: null }])
  })

  test("do not let a server that was taken for dead finish another server's attempt", async () => {
    const { send, map, ca, csrFor, server, clock, jobsOf } = await lifecycleApi(await openDb(), { answerWithinMs: 20 })
    await map("mc-outside", "agent-1-a")
    await send("POST", "/certificates/mc-outside/renew")
    const csrs = [await csrFor("mc-outside"), await csrFor("mc-outside")]
    const submit = async (csrPem?: string) => {
      ca.be("hang")
      const answer = await send("POST", "/agents/agent-1/csr", { csr_pem: csrPem, certificate_id: "mc-outside" })
      expect(answer.body).toEqual({ status: "csr_accepted" })
    }
    await submit(csrs[0])
    server.issuance.inHand.clear()
    clock.advance(121_000)
    await server.processor.process(never)
    await submit(csrs[1])
    ca.release()
    const versions = async () => (await send("GET", "/certificates/mc-outside/versions")).body.data
    await until("both answers are stored", async () => (await versions()).length === 2)
    const [job] = await jobsOf("mc-outside")
    const own = (await versions()).find((version: { id: string }) => version.id === job?.versionId)
    expect(own).toMatchObject({ csr_pem: csrs[1], agent_id: "agent-1" })
    expect(job).toMatchObject({ status: "Completed", attempts: 2 })
  })

  test("make key and CSR themselves where the server does, and keep the key sealed", async () => {
    const db = await openDb()
    const { send, server, jobsOf } = await lifecycleApi(db, { keygenMode: "server" })
    await send("POST", "/certificates/mc-inside/renew")
    expect(await jobsOf("mc-inside")).toMatchObject([{ status: "Pending" }])
    await server.processor.process(never)
    expect(await jobsOf("mc-inside")).toMatchObject([{ status: "Completed", attempts: 1, agentId: null }])
    expect((await send("GET", "/certificates/mc-inside")).body.status).toBe("Active")
    const [version] = await db.read.select().from(db.t.certificateVersions)
    expect(version).toMatchObject({ agentId: null, keyAlgorithm: "RSA", keySize: 2048 })
    expect(version?.encryptedKey).not.toBeNull()
  })
})
