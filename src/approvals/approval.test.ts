import { describe, expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import { Hono } from "hono"
import { Registry } from "prom-client"
import { type Actor, anonymousActor, systemActor } from "../access/actor"
import type { Db } from "../db/db"
import { approvalStates } from "../db/tables/approval.tables"
import { profileRoutes } from "../profiles/profile.routes"
import { profileService } from "../profiles/profile.service"
import { profileStore } from "../profiles/profile.store"
import type { ApiEnv } from "../server/operation"
import { operatorActor, testApi, viewerActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { dayMs } from "../testing/lifecycle-world"
import { onEachDialect } from "../testing/on-each-dialect"
import { canMove } from "./approval.machine"
import { registerApprovalMetrics } from "./approval.metrics"

const person = (name: string): Actor => ({ ...operatorActor, name })
const anna = person("anna")
const bert = person("bert")
const never = new AbortController().signal

describe("an approval request", () => {
  test("is decided once and for all", () => {
    for (const from of approvalStates) {
      for (const to of approvalStates) expect(canMove(from, to)).toBe(from === "pending" && to !== "pending")
    }
  })
})

/** The certificate whose profile wants approval goes to one agent; `anna` has asked for its issuance. */
const asked = async (db: Db, options: { bypassesApproval?: boolean } = {}) => {
  const api = await lifecycleApi(db, options)
  await api.map("mc-approved", "agent-1-a")
  expect((await api.as(anna)("POST", "/certificates/mc-approved/renew")).status).toBe(202)
  const [request] = (await api.send("GET", "/approvals")).body.data
  const decide = (who: Actor, what: "approve" | "reject", body?: object) =>
    api.as(who)("POST", `/approvals/${request.id}/${what}`, body)
  const look = async () => (await api.send("GET", `/approvals/${request.id}`)).body
  const job = async () => (await api.send("GET", `/jobs/${request.job_id}`)).body
  const actions = async () => (await api.eventsOf(request.id)).map(({ action }) => action)
  return { ...api, request, decide, look, job, actions }
}

onEachDialect("an approval request", (openDb, dialect) => {
  test("is made with the job, tells what is asked for, and leaves the certificate alone", async () => {
    const { request, job, send, eventsOf } = await asked(await openDb())
    expect(request).toEqual({
      id: expect.stringMatching(/^ar-/),
      certificate_id: "mc-approved",
      job_id: expect.stringMatching(/^job-/),
      profile_id: "prof-two-person",
      requested_by: "anna",
      state: "pending",
      metadata: {
        common_name: "mc-approved.example.com",
        sans: ["www.mc-approved.example.com"],
        issuer_id: "iss-inside",
        trigger: "manual",
      },
      created_at: "2030-01-01T00:00:00.000Z",
      updated_at: "2030-01-01T00:00:00.000Z",
    })
    expect(await job()).toMatchObject({ type: "Issuance", status: "AwaitingApproval", requested_by: "anna" })
    expect((await send("GET", "/certificates/mc-approved")).body.status).toBe("Pending")
    expect(await eventsOf(request.id)).toMatchObject([
      { action: "approval_requested", actor: "anna", resourceType: "approval", details: { trigger: "manual" } },
    ])
  })

  test("approved by somebody else lets the job go on", async () => {
    const { decide, look, job, request, server, jobsOf, eventsOf } = await asked(await openDb())
    expect(await decide(bert, "approve", { note: "change 4711" })).toEqual({
      status: 200,
      body: { id: request.id, decided_by: "bert", action: "approved" },
    })
    expect(await look()).toMatchObject({
      state: "approved",
      decided_by: "bert",
      decided_at: "2030-01-01T00:00:00.000Z",
      decision_note: "change 4711",
    })
    expect(await job()).toMatchObject({ status: "Pending" })
    expect((await eventsOf(request.job_id)).at(-1)).toMatchObject({
      action: "job_approved",
      actor: "bert",
      details: { approval_id: request.id },
    })
    await server.processor.process(never)
    expect(await jobsOf("mc-approved")).toMatchObject([{ status: "AwaitingCSR", agentId: "agent-1" }])
    // It was approved; what is tried again needs no second word.
    expect(await look()).toMatchObject({ state: "approved" })
  })

  test("rejected ends the job, which says why", async () => {
    const { decide, look, job, actions } = await asked(await openDb())
    expect((await decide(bert, "reject", { note: "not before Monday" })).body.action).toBe("rejected")
    expect(await look()).toMatchObject({ state: "rejected", decision_note: "not before Monday" })
    expect(await job()).toMatchObject({ status: "Cancelled", last_error: "rejected: not before Monday" })
    expect(await actions()).toEqual(["approval_requested", "approval_rejected"])
  })

  test("takes no decision from who asked, from a reader, from nobody, nor an approval from the owner", async () => {
    const { decide, look, job, as, request } = await asked(await openDb())
    for (const what of ["approve", "reject"] as const) {
      const own = await decide(anna, what)
      expect(own.status).toBe(403)
      expect(own.body.message).toContain("two-person integrity")
      expect((await decide(viewerActor, what)).status).toBe(403)
      expect((await decide(anonymousActor, what)).status).toBe(401)
      expect((await as(anonymousActor)("POST", `/jobs/${request.job_id}/${what}`)).status).toBe(401)
      expect((await as(anna)("POST", `/jobs/${request.job_id}/${what}`)).status).toBe(403)
      expect((await as(bert)("POST", `/approvals/ar-0/${what}`)).status).toBe(404)
    }
    expect((await decide(person("Owner@example.com"), "approve")).status).toBe(403)
    expect((await as(person("OWNER"))("POST", `/jobs/${request.job_id}/approve`)).status).toBe(403)
    expect(await look()).toEqual(request)
    expect(await job()).toMatchObject({ status: "AwaitingApproval" })
    expect((await decide(bert, "approve", { note: "x".repeat(1001) })).status).toBe(400)
    expect((await decide(person("owner"), "reject")).status).toBe(200)
    for (const who of [bert, anna]) expect((await decide(who, "approve")).status).toBe(409)
  })

  test("is decided by the routes of its job as well", async () => {
    const { as, look, request, actions, decide } = await asked(await openDb())
    expect(await as(bert)("POST", `/jobs/${request.job_id}/reject`, { reason: "why now?" })).toEqual({
      status: 200,
      body: { status: "job_rejected" },
    })
    expect(await look()).toMatchObject({ state: "rejected", decided_by: "bert", decision_note: "why now?" })
    expect((await as(bert)("POST", `/jobs/${request.job_id}/approve`)).status).toBe(400)
    expect((await decide(bert, "approve")).status).toBe(409)
    expect(await actions()).toEqual(["approval_requested", "approval_rejected"])
  })

  test("gets one decision and one event, however many people are at it", async () => {
    const { decide, look, job, actions, as, request } = await asked(await openDb())
    const answers = await Promise.all([
      decide(bert, "approve"),
      decide(person("cleo"), "reject"),
      as(person("dora"))("POST", `/jobs/${request.job_id}/approve`),
      as(person("emil"))("POST", `/jobs/${request.job_id}/reject`),
      decide(person("finn"), "approve"),
    ])
    const won = answers.filter(({ status }) => status === 200)
    expect(won).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409 || status === 400)).toHaveLength(4)
    const { state } = await look()
    expect(await actions()).toEqual(["approval_requested", `approval_${state}`])
    expect((await job()).status).toBe(state === "approved" ? "Pending" : "Cancelled")
  })

  test("is decided or expires where somebody cancels its job at the same moment", async () => {
    const { as, send, eventsOf } = await asked(await openDb())
    for (let round = 0; round < (dialect === "postgres" ? 4 : 2); round += 1) {
      const [request] = (await send("GET", "/approvals?state=pending")).body.data
      const [approved, cancelled] = await Promise.all([
        as(bert)("POST", `/approvals/${request.id}/approve`),
        send("POST", `/jobs/${request.job_id}/cancel`),
      ])
      expect([200, 409]).toContain(approved.status)
      expect(cancelled.status).toBe(200)
      const state = approved.status === 200 ? "approved" : "expired"
      expect((await send("GET", `/approvals/${request.id}`)).body.state).toBe(state)
      expect((await send("GET", `/jobs/${request.job_id}`)).body.status).toBe("Cancelled")
      const actions = (await eventsOf(request.id)).map(({ action }) => action)
      expect(actions).toEqual(["approval_requested", `approval_${state}`])
      await as(anna)("POST", "/certificates/mc-approved/renew")
    }
  }, 30_000)

  test("expires when its job is cancelled, by who asked too", async () => {
    const { as, look, eventsOf, request } = await asked(await openDb())
    expect((await as(anna)("POST", `/jobs/${request.job_id}/cancel`)).status).toBe(200)
    expect(await look()).toMatchObject({ state: "expired", decided_by: "system", decision_note: "cancelled by user" })
    expect((await eventsOf(request.id)).at(-1)).toMatchObject({
      action: "approval_expired",
      actor: "anna",
      details: { note: "cancelled by user" },
    })
  })

  test("expires when a renewal is forced in its place, which asks anew", async () => {
    const { send, look } = await asked(await openDb())
    expect((await send("POST", "/certificates/mc-approved/renew")).status).toBe(409)
    expect((await send("POST", "/certificates/mc-approved/renew?force=true")).status).toBe(202)
    expect(await look()).toMatchObject({ state: "expired", decision_note: expect.stringContaining("replaced") })
    expect((await send("GET", "/approvals?state=pending")).body).toMatchObject({
      total: 1,
      data: [{ requested_by: "tester" }],
    })
  })

  test("expires when its certificate is archived", async () => {
    const { send, look } = await asked(await openDb())
    expect((await send("DELETE", "/certificates/mc-approved")).status).toBe(204)
    expect(await look()).toMatchObject({ state: "expired", decision_note: expect.stringContaining("archived") })
  })

  test("expires when nobody decides within a week", async () => {
    const { clock, server, look, actions, eventsOf, request, decide } = await asked(await openDb())
    clock.advance(8 * dayMs)
    await server.processor.reap()
    expect(await look()).toMatchObject({
      state: "expired",
      decided_by: "system",
      decision_note: expect.stringContaining("approval_timeout"),
    })
    expect(await actions()).toEqual(["approval_requested", "approval_expired"])
    expect((await eventsOf(request.id)).at(-1)).toMatchObject({ actor: "system" })
    expect((await decide(bert, "approve")).status).toBe(409)
  })

  test("for a key that a deployment asks for expires when its agent is retired", async () => {
    const { decide, request, server, csrFor, map, send } = await asked(await openDb())
    await decide(bert, "approve")
    await server.processor.process(never)
    const csrPem = await csrFor("mc-approved")
    await server.issuance.submitCsr({ agentId: "agent-1", certificateId: "mc-approved", csrPem }, operatorActor)
    await map("mc-approved", "agent-1-a", "agent-2-a")
    expect((await send("POST", "/certificates/mc-approved/deploy", {})).status).toBe(202)
    const [second] = (await send("GET", "/approvals?state=pending")).body.data
    expect(second).toMatchObject({ requested_by: "tester", metadata: { trigger: "deployment" } })
    expect((await send("DELETE", "/agents/agent-2?force=true&reason=gone")).status).toBe(200)
    expect((await send("GET", `/approvals/${second.id}`)).body).toMatchObject({
      state: "expired",
      decision_note: expect.stringContaining("retired"),
    })
    expect((await send("GET", `/approvals/${request.id}`)).body.state).toBe("approved")
  })

  test("of the renewal check may be decided by any operator", async () => {
    const { decide, server, clock, send, csrFor, as } = await asked(await openDb())
    await decide(bert, "approve")
    await server.processor.process(never)
    const csrPem = await csrFor("mc-approved")
    await server.issuance.submitCsr({ agentId: "agent-1", certificateId: "mc-approved", csrPem }, operatorActor)
    clock.advance(75 * dayMs)
    await server.renewals.checkAll(never)
    const [due] = (await send("GET", "/approvals?state=pending")).body.data
    expect(due).toMatchObject({ requested_by: "system", metadata: { trigger: "threshold" } })
    expect((await send("GET", "/certificates/mc-approved")).body.status).not.toBe("RenewalInProgress")
    expect((await as(anna)("POST", `/approvals/${due.id}/approve`)).status).toBe(200)
  })

  test("is not made where only the renewal policy wants somebody's yes", async () => {
    const db = await openDb()
    const { send, map, clock, server, csrFor, jobsOf, as } = await lifecycleApi(db)
    await map("mc-inside", "agent-1-a")
    await server.issuance.submitCsr(
      { agentId: "agent-1", certificateId: "mc-inside", csrPem: await csrFor("mc-inside") },
      operatorActor,
    )
    await send("PUT", "/certificates/mc-inside", { renewal_policy_id: "rp-asks" })
    clock.advance(75 * dayMs)
    await server.renewals.checkAll(never)
    const waiting = (await jobsOf("mc-inside")).find(({ status }) => status === "AwaitingApproval")
    expect(waiting).toMatchObject({ type: "Renewal", agentId: null })
    expect((await send("GET", "/approvals")).body).toEqual({ data: [], total: 0, page: 1, per_page: 50 })
    expect((await as(bert)("POST", `/jobs/${waiting?.id}/approve`)).status).toBe(200)
  })

  test("whose job was moved behind its back is refused, told of, and does not stay", async () => {
    const db = await openDb()
    const { decide, look, request, eventsOf } = await asked(db)
    await db.transaction(async (tx) => {
      await tx.update(db.t.jobs).set({ status: "Cancelled" }).where(eq(db.t.jobs.id, request.job_id))
    })
    expect((await decide(bert, "approve")).status).toBe(409)
    expect(await look()).toMatchObject({ state: "expired", decision_note: expect.stringContaining("Cancelled") })
    expect((await eventsOf(request.id)).slice(1)).toMatchObject([
      { action: "approval_job_transition_failed", actor: "bert", details: { job_status: "Cancelled" } },
      { action: "approval_expired" },
    ])
  })

  test("is approved by nobody where the bypass is on", async () => {
    const { look, job, request, eventsOf, actions, server, send } = await asked(await openDb(), {
      bypassesApproval: true,
    })
    expect(await look()).toMatchObject({ state: "approved", requested_by: "anna", decided_by: "system-bypass" })
    expect(await actions()).toEqual(["approval_requested", "approval_bypassed"])
    expect((await eventsOf(request.job_id)).at(-1)).toMatchObject({ actor: "system-bypass", actorType: "System" })
    expect(await job()).toMatchObject({ status: "Pending" })
    expect((await send("GET", "/certificates/mc-approved")).body.status).toBe("RenewalInProgress")
    await server.processor.process(never)
    expect(await job()).toMatchObject({ status: "AwaitingCSR" })
  })

  test("of the renewal check starts the renewal at once where the bypass is on", async () => {
    const { server, clock, send, csrFor } = await asked(await openDb(), { bypassesApproval: true })
    await server.processor.process(never)
    const csrPem = await csrFor("mc-approved")
    await server.issuance.submitCsr({ agentId: "agent-1", certificateId: "mc-approved", csrPem }, operatorActor)
    clock.advance(75 * dayMs)
    await server.renewals.checkAll(never)
    expect((await send("GET", "/certificates/mc-approved")).body.status).toBe("RenewalInProgress")
    const { body } = await send("GET", "/approvals?requested_by=system")
    expect(body).toMatchObject({ total: 1, data: [{ state: "approved", decided_by: "system-bypass" }] })
  })

  test("is listed by what is asked for, newest first, by page and by cursor", async () => {
    const { send, as, clock, request } = await asked(await openDb())
    clock.advance(1000)
    await as(bert)("POST", "/certificates/mc-approved/renew?force=true")
    const total = async (query: string) => (await send("GET", `/approvals?${query}`)).body.total
    expect(await total("")).toBe(2)
    expect(await total("state=pending")).toBe(1)
    expect(await total("state=expired&requested_by=anna&certificate_id=mc-approved")).toBe(1)
    expect(await total("state=")).toBe(2)
    expect(await total("state=nonsense")).toBe(0)
    expect(await total("certificate_id=mc-inside")).toBe(0)
    expect(await total("q=BER")).toBe(1)
    expect(await total("q=www.mc-Approved.example")).toBe(2)
    const first = (await send("GET", "/approvals?page_size=1")).body
    expect(first).toMatchObject({ total: 2, page_size: 1, data: [{ requested_by: "bert" }] })
    const second = (await send("GET", `/approvals?page_size=1&cursor=${first.next_cursor}`)).body
    expect(second.data.map(({ id }: { id: string }) => id)).toEqual([request.id])
    expect(second.next_cursor).toBeUndefined()
    expect((await send("GET", "/approvals?page=2&per_page=1")).body).toMatchObject({ page: 2, per_page: 1, total: 2 })
    expect((await send("GET", "/approvals/ar-0")).status).toBe(404)
  })

  test("keeps its profile from being deleted", async () => {
    const db = await openDb()
    const { server, clock, decide } = await asked(db)
    await decide(bert, "reject")
    const profiles = profileService({ db, profiles: profileStore(db), audit: server.audit, clock })
    const app = testApi(new Hono<ApiEnv>().route("/profiles", profileRoutes(profiles)))
    const refused = await app.request("/api/v1/profiles/prof-two-person", { method: "DELETE" })
    expect(refused.status).toBe(409)
    expect(await refused.text()).toContain("approval requests point to it")
    expect((await profiles.get("prof-two-person")).requiresApproval).toBe(true)
  })

  test("is counted by outcome, and by how long it waited", async () => {
    const db = await openDb()
    const { decide, clock, server, as } = await asked(db)
    const registry = new Registry()
    registerApprovalMetrics({ registry, approvals: server.approvals })
    const lines = async () => (await registry.metrics()).split("\n").filter((line) => line !== "")
    expect(await lines()).toEqual([
      "# HELP certctl_approval_decisions_total Approval requests that are no longer pending",
      "# TYPE certctl_approval_decisions_total counter",
      "# HELP certctl_approval_pending_age_seconds How long approval requests waited until they were decided or expired",
      "# TYPE certctl_approval_pending_age_seconds histogram",
      ...["60", "300", "1800", "3600", "21600", "86400", "+Inf"].map(
        (le) => `certctl_approval_pending_age_seconds_bucket{le="${le}"} 0`,
      ),
      "certctl_approval_pending_age_seconds_sum 0",
      "certctl_approval_pending_age_seconds_count 0",
    ])
    clock.advance(90_500)
    await decide(bert, "reject")
    await as(anna)("POST", "/certificates/mc-approved/renew")
    clock.advance(2 * dayMs)
    await as(bert)("POST", "/certificates/mc-approved/renew?force=true")
    expect((await lines()).filter((line) => !line.startsWith("#"))).toEqual([
      'certctl_approval_decisions_total{outcome="expired",profile_id="prof-two-person"} 1',
      'certctl_approval_decisions_total{outcome="rejected",profile_id="prof-two-person"} 1',
      ...[
        ["60", 0],
        ["300", 1],
        ["1800", 1],
        ["3600", 1],
        ["21600", 1],
        ["86400", 1],
        ["+Inf", 2],
      ].map(([le, value]) => `certctl_approval_pending_age_seconds_bucket{le="${le}"} ${value}`),
      `certctl_approval_pending_age_seconds_sum ${90.5 + 2 * 86_400}`,
      "certctl_approval_pending_age_seconds_count 2",
    ])
  })

  test("that nobody had to decide counts as bypassed and waited for nothing", async () => {
    const { server } = await asked(await openDb(), { bypassesApproval: true })
    const registry = new Registry()
    registerApprovalMetrics({ registry, approvals: server.approvals })
    const text = await registry.metrics()
    expect(text).toContain('certctl_approval_decisions_total{outcome="bypassed",profile_id="prof-two-person"} 1')
    expect(text).toContain("certctl_approval_pending_age_seconds_count 0")
  })

  test("cannot be stored half decided", async () => {
    const db = await openDb()
    const { request } = await asked(db)
    const { approvalRequests } = db.t
    const set = (change: Partial<typeof approvalRequests.$inferInsert>) =>
      db.transaction(async (tx) => {
        await tx.update(approvalRequests).set(change).where(eq(approvalRequests.id, request.id))
      })
    await expect(set({ decidedBy: systemActor.name })).rejects.toThrow()
    await expect(set({ decisionNote: "later" })).rejects.toThrow()
    await expect(set({ state: "approved", decidedBy: "bert" })).rejects.toThrow()
    await expect(set({ state: "nonsense" as "approved", decidedAt: new Date(0) })).rejects.toThrow()
  })
})
