import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { revocationApi } from "../testing/revocation-api"
import { until } from "../testing/until"

const revoked = { status: 200, body: { status: "revoked" } }

const setUp = async (db: Db) => {
  const api = await revocationApi(db)
  for (const id of ["mc-inside", "mc-outside"]) await api.map(id, "agent-1-a", "agent-2-a")
  const revoke = (id: string, body?: unknown, actor = operatorActor) =>
    api.ask("POST", `/certificates/${id}/revoke`, body, actor)
  const certificate = async (id: string) => (await api.send("GET", `/certificates/${id}`)).body
  const actionsOf = async (id: string) => (await api.eventsOf(id)).map(({ action }) => action)
  return { ...api, revoke, certificate, actionsOf }
}

onEachDialect("revoking a certificate", (openDb) => {
  test("revokes the newest version of every agent and no replaced one, and says so", async () => {
    const { issue, revoke, certificate, versions, revocations, eventsOf, clock } = await setUp(await openDb())
    await issue("mc-inside", "agent-1")
    clock.advance(1000)
    await issue("mc-inside", "agent-1")
    await issue("mc-inside", "agent-2")
    const issued = await versions("mc-inside")
    expect(issued).toHaveLength(3)
    expect(await revoke("mc-inside", { reason: "keyCompromise" })).toEqual(revoked)
    const replaced = issued.at(-1)?.serialNumber
    const current = issued.map(({ serialNumber }) => serialNumber).filter((serial) => serial !== replaced)
    expect((await revocations()).map(({ serialNumber }) => serialNumber)).toEqual(current.toSorted())
    for (const row of await revocations()) {
      expect(row).toMatchObject({
        reason: "keyCompromise",
        revokedBy: "operator",
        revokedAt: clock.now(),
        issuerId: "iss-inside",
        issuerNotified: true,
      })
    }
    expect(await certificate("mc-inside")).toMatchObject({
      status: "Revoked",
      revocation_reason: "keyCompromise",
      revoked_at: clock.now().toISOString(),
    })
    const event = (await eventsOf("mc-inside")).find(({ action }) => action === "certificate_revoked")
    expect(event).toMatchObject({
      actor: "operator",
      details: {
        common_name: "mc-inside.example.com",
        reason: "keyCompromise",
        serials: expect.arrayContaining(current),
      },
    })
  })

  test("takes no reason and an empty one as unspecified, and refuses what RFC 5280 lists for other uses", async () => {
    const { issue, revoke, certificate } = await setUp(await openDb())
    await issue("mc-inside")
    for (const reason of ["removeFromCRL", "aaCompromise", "because", "key_compromise", 1, ["keyCompromise"]]) {
      const answer = await revoke("mc-inside", { reason })
      expect(answer.status).toBe(400)
      expect(answer.body.message).toStartWith("reason must be")
    }
    expect((await certificate("mc-inside")).status).toBe("Active")
    expect(await revoke("mc-inside", { reason: "" })).toEqual(revoked)
    expect((await certificate("mc-inside")).revocation_reason).toBe("unspecified")
    await issue("mc-outside")
    expect(await revoke("mc-outside")).toEqual(revoked)
    expect((await certificate("mc-outside")).revocation_reason).toBe("unspecified")
  })

  test("is refused for the unknown, the archived, the revoked and the never issued", async () => {
    const { issue, revoke, send, revocations } = await setUp(await openDb())
    expect(await revoke("mc-unknown")).toMatchObject({ status: 404 })
    expect(await revoke("mc-inside")).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining("nothing was issued") },
    })
    await issue("mc-inside")
    await revoke("mc-inside")
    expect(await revoke("mc-inside")).toMatchObject({
      status: 400,
      body: { message: "certificate mc-inside is already revoked" },
    })
    await issue("mc-outside")
    await send("DELETE", "/certificates/mc-outside")
    expect(await revoke("mc-outside")).toMatchObject({
      status: 400,
      body: { message: "certificate mc-outside is archived" },
    })
    expect(await revocations()).toHaveLength(1)
  })

  test("needs an operator", async () => {
    const { issue, revoke } = await setUp(await openDb())
    await issue("mc-inside")
    expect(await revoke("mc-inside", {}, viewerActor)).toMatchObject({ status: 403 })
  })

  test("cancels what is under way for it: jobs of agents, deployments and the roll-out", async () => {
    const { issue, revoke, send, jobsOf, certificate, db, actionsOf } = await setUp(await openDb())
    await issue("mc-inside", "agent-1")
    await send("POST", "/certificates/mc-inside/renew", { force: true })
    const before = await jobsOf("mc-inside")
    expect(before.filter(({ status }) => status === "AwaitingCSR")).toHaveLength(2)
    expect(before.some(({ type, status }) => type === "Deployment" && status === "Pending")).toBe(true)
    expect(await revoke("mc-inside", { reason: "superseded" })).toEqual(revoked)
    for (const job of await jobsOf("mc-inside")) {
      if (job.status !== "Completed")
        expect(job).toMatchObject({ status: "Cancelled", lastError: "the certificate was revoked" })
    }
    const rollouts = await db.read.select().from(db.t.rollouts)
    expect(rollouts.filter(({ state }) => state === "running")).toEqual([])
    expect((await certificate("mc-inside")).status).toBe("Revoked")
    // Nothing brings it back.
    for (const path of ["renew", "deploy"]) {
      expect((await send("POST", `/certificates/mc-inside/${path}`)).status).toBe(400)
    }
    expect((await actionsOf("mc-inside")).filter((action) => action === "certificate_revoked")).toHaveLength(1)
  })

  test("happens once, however many ask at the same moment", async () => {
    const { issue, revoke, revocations, actionsOf } = await setUp(await openDb())
    await issue("mc-outside")
    const answers = await Promise.all([1, 2, 3, 4].map(() => revoke("mc-outside")))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400, 400, 400])
    expect(await revocations()).toHaveLength(1)
    expect((await actionsOf("mc-outside")).filter((action) => action === "certificate_revoked")).toHaveLength(1)
  })

  test("owes an outside CA the news: told again until it has heard, and nothing is undone meanwhile", async () => {
    const { issue, revoke, revocations, versions, outbox, work, ca, clock, eventsOf, certificate } = await setUp(
      await openDb(),
    )
    await issue("mc-outside")
    const [version] = await versions("mc-outside")
    ca.be("fail")
    expect(await revoke("mc-outside", { reason: "cessationOfOperation" })).toEqual(revoked)
    expect(await revocations()).toMatchObject([{ issuerNotified: false }])
    await work()
    expect(ca.revoked).toEqual([])
    expect(await outbox()).toMatchObject([{ attempts: 1, doneAt: null, lastError: "the CA is out of order" }])
    expect((await certificate("mc-outside")).status).toBe("Revoked")
    ca.be("fail")
    clock.advance(60_000)
    await work()
    clock.advance(3_600_000)
    await work()
    expect(ca.revoked).toEqual([version?.serialNumber ?? ""])
    expect(await revocations()).toMatchObject([{ issuerNotified: true }])
    const told = (await eventsOf("mc-outside")).filter(({ action }) => action === "certificate_revocation_notified")
    // The second failure said nothing new.
    expect(told).toMatchObject([
      { details: { serial: version?.serialNumber, ok: false, error: "the CA is out of order" } },
      { details: { serial: version?.serialNumber, ok: true } },
    ])
    clock.advance(86_400_000)
    await work()
    expect(ca.revoked).toHaveLength(1)
  })

  test("does not bother the CA with what has expired before it could be told", async () => {
    const { issue, revoke, outbox, work, ca, clock, eventsOf, revocations } = await setUp(await openDb())
    await issue("mc-outside")
    await revoke("mc-outside")
    clock.advance(100 * 86_400_000)
    await work()
    expect(ca.revoked).toEqual([])
    expect(await outbox()).toMatchObject([{ doneAt: clock.now() }])
    expect(await revocations()).toMatchObject([{ issuerNotified: false }])
    expect((await eventsOf("mc-outside")).at(-1)).toMatchObject({
      action: "certificate_revocation_notified",
      details: { ok: false, error: "it expired before its issuer could be told" },
    })
  })

  test("reaches a version that the CA delivers afterwards", async () => {
    const { revoke, issue, send, csrFor, server, versions, revocations, ca, work, jobsOf, certificate, clock } =
      await setUp(await openDb())
    await issue("mc-outside", "agent-1")
    clock.advance(1000)
    await send("POST", "/certificates/mc-outside/renew", { force: true })
    ca.be("hang")
    const csrPem = await csrFor("mc-outside")
    const pending = server.issuance.submitCsr(
      { agentId: "agent-1", certificateId: "mc-outside", csrPem },
      { name: "agent-1", type: "Agent", role: "agent", agentId: "agent-1" },
    )
    await until("the CA has the request", async () =>
      (await jobsOf("mc-outside")).some(({ id, status }) => status === "Running" && ca.isUnanswered(id)),
    )
    expect(await revoke("mc-outside", { reason: "keyCompromise" })).toEqual(revoked)
    ca.release()
    await pending
    const issued = await versions("mc-outside")
    expect(issued).toHaveLength(2)
    expect(issued[0]?.agentId).toBeNull()
    expect((await revocations()).map(({ serialNumber }) => serialNumber)).toEqual(
      issued.map(({ serialNumber }) => serialNumber).toSorted(),
    )
    expect((await revocations()).every(({ reason }) => reason === "keyCompromise")).toBe(true)
    expect((await certificate("mc-outside")).status).toBe("Revoked")
    await work()
    expect(ca.revoked.toSorted()).toEqual(issued.map(({ serialNumber }) => serialNumber).toSorted())
  })
})
