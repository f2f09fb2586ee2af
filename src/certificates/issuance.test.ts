import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { agentActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { onEachDialect } from "../testing/on-each-dialect"
import { until } from "../testing/until"

const never = new AbortController().signal

/** The same database, which can be made to refuse transactions as one that is away does. */
const interruptible = (db: Db) => {
  let isAway = false
  let refused = 0
  const transaction: Db["transaction"] = async (run) => {
    if (!isAway) return await db.transaction(run)
    refused += 1
    throw new AppError("unavailable", "the database is away")
  }
  return { db: { ...db, transaction }, refused: () => refused, be: (away: boolean) => (isAway = away) }
}

const setUp = async (db: Db, answerWithinMs?: number) => {
  const api = await lifecycleApi(db, { answerWithinMs })
  for (const id of ["mc-inside", "mc-outside"]) await api.map(id, "agent-1-a", "agent-2-a")
  const own = api.as(agentActor("agent-1"))
  const submit = (id: string | undefined, csrPem: string, agentId = "agent-1") =>
    api.as(agentActor(agentId))("POST", `/agents/${agentId}/csr`, { csr_pem: csrPem, certificate_id: id })
  const versions = async (id: string) => (await api.send("GET", `/certificates/${id}/versions`)).body.data
  return { ...api, own, submit, versions }
}

const signed = { status: 202, body: { status: "csr_signed" } }
const accepted = { status: 202, body: { status: "csr_accepted" } }

onEachDialect("an agent's CSR", (openDb) => {
  test("for its waiting job is signed, stored and sent out; the other agents' jobs are left alone", async () => {
    const { send, submit, csrFor, versions, jobsOf, eventsOf } = await setUp(await openDb())
    await send("POST", "/certificates/mc-inside/renew")
    expect(await submit("mc-inside", await csrFor("mc-inside", ["www.mc-inside.example.com"]))).toEqual(signed)
    const [version] = await versions("mc-inside")
    expect(await jobsOf("mc-inside")).toMatchObject([
      { agentId: "agent-1", status: "Completed", versionId: version.id, attempts: 1 },
      { agentId: "agent-2", status: "AwaitingCSR", versionId: null },
      { type: "Deployment", targetId: "agent-1-a", status: "Pending", versionId: version.id },
    ])
    const certificate = (await send("GET", "/certificates/mc-inside")).body
    expect(certificate).toMatchObject({ status: "RenewalInProgress", expires_at: "2030-04-01T00:00:00.000Z" })
    expect(await submit("mc-inside", await csrFor("mc-inside"), "agent-2")).toEqual(signed)
    expect((await send("GET", "/certificates/mc-inside")).body.status).toBe("Active")
    expect((await eventsOf("mc-inside")).map(({ action }) => action)).toContain("csr_submitted")
  })

  test("that is sent again is answered again, and not signed again", async () => {
    const { send, submit, csrFor, versions } = await setUp(await openDb())
    await send("POST", "/certificates/mc-inside/renew")
    const csrPem = await csrFor("mc-inside")
    const answers = await Promise.all([1, 2, 3].map(() => submit("mc-inside", csrPem)))
    expect(answers).toEqual([signed, signed, signed])
    expect(await submit("mc-inside", csrPem)).toEqual(signed)
    expect(await versions("mc-inside")).toHaveLength(1)
  })

  test("that nobody waits for is signed directly, by either kind of CA", async () => {
    const { send, submit, csrFor, versions, jobsOf } = await setUp(await openDb())
    for (const id of ["mc-inside", "mc-outside"]) {
      expect(await submit(id, await csrFor(id))).toEqual(signed)
      expect(await versions(id)).toHaveLength(1)
      expect((await send("GET", `/certificates/${id}`)).body.status).toBe("Active")
    }
    // The CA outside is never called without a job that could be found again.
    expect((await jobsOf("mc-outside"))[0]).toMatchObject({
      type: "Issuance",
      status: "Completed",
      requestedBy: "agent-1",
    })
  })

  test("without a certificate is only recorded", async () => {
    const { submit, csrFor, eventsOf } = await setUp(await openDb())
    expect(await submit(undefined, await csrFor("mc-inside"))).toEqual(accepted)
    expect(await eventsOf("agent-1")).toMatchObject([{ action: "csr_submitted" }])
  })

  test("is accepted while the CA takes its time, and finished when it has decided", async () => {
    const { send, submit, csrFor, versions, jobsOf, ca, server, clock } = await setUp(await openDb(), 20)
    ca.be("hang")
    await send("POST", "/certificates/mc-outside/renew")
    const csrPem = await csrFor("mc-outside")
    expect(await submit("mc-outside", csrPem)).toEqual(accepted)
    expect(await submit("mc-outside", csrPem)).toEqual(accepted)
    const another = await submit("mc-outside", await csrFor("mc-outside"))
    expect(another.status).toBe(503)
    ca.release()
    await until("the CA's answer is stored", async () => (await versions("mc-outside")).length === 1)
    expect(await submit("mc-outside", csrPem)).toEqual(signed)

    ca.be("order")
    expect(await submit("mc-outside", await csrFor("mc-outside"), "agent-2")).toEqual(accepted)
    const order = (await jobsOf("mc-outside")).find((job) => job.agentId === "agent-2" && job.status === "Running")
    expect(order).toMatchObject({ orderId: "order-1", lastError: "waiting for CA, order order-1" })
    await server.processor.process(never)
    expect(await versions("mc-outside")).toHaveLength(1)
    clock.advance(5001)
    await server.processor.process(never)
    expect(await versions("mc-outside")).toHaveLength(2)
  })

  test("that is bad is refused with 400 and fails the job that waited for it", async () => {
    const { send, submit, csrFor, jobsOf, own, eventsOf } = await setUp(await openDb())
    await send("POST", "/certificates/mc-inside/renew")
    expect((await own("POST", "/agents/agent-1/csr", { certificate_id: "mc-inside" })).status).toBe(400)
    const answer = await submit("mc-inside", await csrFor("mc-inside", ["evil.example.com"]))
    expect(answer).toMatchObject({ status: 400, body: { message: expect.stringContaining("evil.example.com") } })
    const [job] = await jobsOf("mc-inside")
    expect(job).toMatchObject({ status: "Failed", attempts: 1, lastError: expect.stringContaining("evil") })
    expect((await eventsOf(job?.id ?? "")).map(({ action }) => action)).toEqual(["csr_rejected"])
    expect((await submit("mc-inside", "no CSR")).status).toBe(400)
    expect((await eventsOf("mc-inside")).map(({ action }) => action)).toContain("csr_rejected")
    // The agent reports what the server knows already.
    expect(await own("POST", `/agents/agent-1/jobs/${job?.id}/status`, { status: "Failed", error: "refused" })).toEqual(
      {
        status: 200,
        body: { status: "updated" },
      },
    )
  })

  test("for what it does not serve, does not exist or is not managed any more is refused", async () => {
    const { send, submit, csrFor } = await setUp(await openDb())
    const csrPem = await csrFor("mc-inside")
    expect((await submit("mc-nowhere", csrPem)).status).toBe(404)
    expect((await submit("mc-inside", csrPem, "agent-3")).status).toBe(404)
    expect((await send("POST", "/agents/nobody/csr", { csr_pem: csrPem, certificate_id: "mc-inside" })).status).toBe(
      404,
    )
    // A shared key may act for any agent, as the clients of old do.
    expect((await send("POST", "/agents/agent-3/csr", { csr_pem: csrPem, certificate_id: "mc-inside" })).status).toBe(
      202,
    )
    await send("DELETE", "/certificates/mc-inside")
    expect((await submit("mc-inside", csrPem)).status).toBe(400)
  })

  test("needs the approved job where the profile requires approval", async () => {
    const db = await openDb()
    const { submit, csrFor } = await setUp(db)
    await db.transaction(async (tx) => {
      const stamps = { createdAt: new Date(0), updatedAt: new Date(0) }
      const lists = { allowedKeyAlgorithms: [], allowedEkus: [], requiredSanPatterns: [], requiredCsrAttributes: [] }
      const profile = { id: "prof-1", name: "asks", requiresApproval: true }
      await tx.insert(db.t.certificateProfiles).values({ ...profile, ...lists, ...stamps })
      await tx.update(db.t.certificates).set({ certificateProfileId: "prof-1" })
    })
    for (const id of ["mc-inside", "mc-outside"]) expect((await submit(id, await csrFor(id))).status).toBe(400)
  })

  test("answers 500 when the CA fails, and the job comes again after its pause", async () => {
    const { send, submit, csrFor, jobsOf, ca, clock, server } = await setUp(await openDb())
    ca.be("fail")
    await send("POST", "/certificates/mc-outside/renew")
    const answer = await submit("mc-outside", await csrFor("mc-outside"))
    expect(answer).toMatchObject({ status: 500, body: { message: "the CA is out of order" } })
    expect((await jobsOf("mc-outside"))[0]).toMatchObject({ status: "Failed", lastError: "the CA is out of order" })
    clock.advance(59_000)
    expect(await server.processor.retry(never)).toBe(0)
    clock.advance(1000)
    expect(await server.processor.retry(never)).toBe(1)
    await server.processor.process(never)
    expect((await jobsOf("mc-outside"))[0]).toMatchObject({ status: "AwaitingCSR", attempts: 2, lastError: null })
  })

  test("that the CA signs for a job cancelled meanwhile is kept, but renews nothing", async () => {
    const { send, submit, csrFor, jobsOf, ca, versions, server } = await setUp(await openDb(), 1000)
    expect(await submit("mc-outside", await csrFor("mc-outside"))).toEqual(signed)
    const before = (await send("GET", "/certificates/mc-outside")).body
    ca.be("hang")
    await send("POST", "/certificates/mc-outside/renew")
    expect(await submit("mc-outside", await csrFor("mc-outside"))).toEqual(accepted)
    for (const job of await jobsOf("mc-outside"))
      if (job.type === "Renewal") await send("POST", `/jobs/${job.id}/cancel`)
    ca.release()
    await until("the CA's answer is stored", async () => (await versions("mc-outside")).length === 2)
    const late = (await versions("mc-outside")).find((version: { agent_id?: string }) => version.agent_id === undefined)
    expect(late).toBeDefined()
    await until("nothing is in hand", () => server.issuance.inHand.size === 0)
    expect((await send("GET", "/certificates/mc-outside")).body).toMatchObject({
      status: "Active",
      expires_at: before.expires_at,
      renew_at: before.renew_at,
    })
  })

  test("that the CA has signed is kept, however long the database is away", async () => {
    const { db, refused, be } = interruptible(await openDb())
    const { send, submit, csrFor, jobsOf, ca, versions } = await setUp(db, 20)
    ca.be("hang")
    await send("POST", "/certificates/mc-outside/renew")
    expect(await submit("mc-outside", await csrFor("mc-outside"))).toEqual(accepted)
    be(true)
    ca.release()
    await until("it was tried more often than anything else is", () => refused() > 11)
    be(false)
    await until("it is stored", async () => (await versions("mc-outside")).length === 1)
    expect((await jobsOf("mc-outside"))[0]).toMatchObject({ status: "Completed", attempts: 1 })
  })
})
