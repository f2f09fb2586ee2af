import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import type { Tables } from "../db/tables/tables"
import { observationService } from "../health/observation.service"
import { observationStore } from "../health/observation.store"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertJob, insertTarget, mapTarget } from "../testing/rows"
import { alarmStore } from "./alarm.store"
import { fleetStore } from "./fleet.store"
import { inventoryService } from "./inventory.service"
import { namesStore } from "./names.store"
import { placeStore } from "./place.store"
import { usageStore } from "./usage.store"

const clock = testClock("2030-05-01T12:00:00.000Z")
const inDays = (days: number) => new Date(clock.now().getTime() + days * 86_400_000)

const inventoryOf = (db: Db) =>
  inventoryService({
    names: namesStore(db),
    places: placeStore(db),
    fleet: fleetStore(db),
    alarms: alarmStore(db),
    usage: usageStore(db),
    observations: observationService({ db, observations: observationStore(db), clock }),
    clock,
    needsAgent: true,
    endpointIn: ({ verify_host }) => (typeof verify_host === "string" ? `${verify_host}:443` : null),
  })

const insertVersion = (db: Db, certificateId: string, agentId: string | null, fingerprint: string, createdAt: Date) =>
  db.transaction(async (tx) => {
    await tx.insert(db.t.certificateVersions).values({
      id: newId("cv-"),
      certificateId,
      agentId,
      serialNumber: fingerprint,
      fingerprintSha256: fingerprint,
      pemChain: "",
      notBefore: createdAt,
      notAfter: inDays(60),
      createdAt,
    })
  })

const observe = (db: Db, row: Omit<Tables["observations"]["$inferInsert"], "id" | "observer">) =>
  db.transaction(async (tx) => {
    await tx.insert(db.t.observations).values({ id: newId("obs-"), observer: "agent-1", ...row })
  })

onEachDialect("the inventory", (openDb) => {
  const place = async () => {
    const db = await openDb()
    await insertAgent(db, { id: "agent-1", name: "edge", lastHeartbeatAt: inDays(0) })
    const target = { agentId: "agent-1", config: { verify_host: "www.example.com" } }
    await insertTarget(db, { id: "tgt-1", name: "web", ...target })
    const expiresAt = inDays(60)
    await insertCertificate(db, { id: "mc-1", status: "Active", expiresAt, renewAt: inDays(30) })
    await mapTarget(db, "mc-1", "tgt-1")
    await insertVersion(db, "mc-1", "agent-1", "old", inDays(-30))
    await insertVersion(db, "mc-1", "agent-1", "new", inDays(-1))
    return { db, inventory: inventoryOf(db) }
  }
  const seen = (fingerprint: string, changes = {}) => ({
    certificateId: "mc-1",
    targetId: "tgt-1",
    kind: "served" as const,
    fingerprint,
    ok: true,
    observedAt: inDays(-0.1),
    ...changes,
  })

  test("a place is judged by the newest sight of it and the newest version of its agent", async () => {
    const { db, inventory } = await place()
    const only = async () => (await inventory.placesOf(["mc-1"])).get("mc-1")?.[0]
    expect(await only()).toMatchObject({
      target: { id: "tgt-1", name: "web", endpoint: "www.example.com:443", retired: false },
      agent: { name: "edge", health: "Online" },
      delivered: { state: "missing" },
      served: { state: "missing" },
      trusted: null,
      lastDeployment: null,
    })
    await observe(db, seen("new", { kind: "delivered" }))
    await observe(db, seen("old", { observedAt: inDays(-0.3) }))
    expect(await only()).toMatchObject({
      delivered: { state: "confirmed", observer: "edge" },
      served: { state: "outdated" },
    })
    await observe(db, seen("new", { observedAt: inDays(-0.2) }))
    expect(await only()).toMatchObject({ served: { state: "confirmed" } })
    await observe(db, seen("stranger", { ok: false }))
    expect(await only()).toMatchObject({ served: { state: "mismatch" } })
    const { mismatches } = await inventory.alarms()
    expect(mismatches.map(({ id, targetName }) => [id, targetName])).toEqual([["mc-1", "web"]])
  })

  test("what was seen on the wire is proof only while it is fresh, right and the newest sight", async () => {
    const { db, inventory } = await place()
    const proven = async () =>
      (await inventory.proofs(5)).map(({ certificate, target }) => [certificate.id, target.name])
    await observe(db, seen("new", { observedAt: inDays(-2) }))
    expect(await proven()).toEqual([])
    await observe(db, seen("new", { observedAt: inDays(-0.5) }))
    await insertCertificate(db, { id: "mc-2", status: "Active", expiresAt: inDays(60) })
    await mapTarget(db, "mc-2", "tgt-1")
    await insertVersion(db, "mc-2", "agent-1", "second", inDays(-1))
    await observe(db, seen("second", { certificateId: "mc-2", observedAt: inDays(-0.1) }))
    expect(await proven()).toEqual([
      ["mc-2", "web"],
      ["mc-1", "web"],
    ])
    expect(await inventory.proofs(1)).toHaveLength(1)
    await observe(db, seen("stranger", { ok: false, observedAt: inDays(-0.05) }))
    expect(await proven()).toEqual([["mc-2", "web"]])
  })

  test("a place shows its newest deployment, and a failed one raises its voice until another succeeds", async () => {
    const { db, inventory } = await place()
    const job = { type: "Deployment", certificateId: "mc-1", targetId: "tgt-1", agentId: "agent-1" } as const
    await insertJob(db, { ...job, status: "Completed", createdAt: inDays(-3), completedAt: inDays(-3) })
    const failed = { ...job, status: "Failed", attempts: 3, maxAttempts: 3, lastError: "nginx -t failed" } as const
    const { id } = await insertJob(db, { ...failed, createdAt: inDays(-2), completedAt: inDays(-2) })
    const [first] = (await inventory.placesOf(["mc-1"])).get("mc-1") ?? []
    expect(first?.lastDeployment).toEqual({ jobId: id, status: "Failed", at: inDays(-2) })
    expect((await inventory.alarms()).failedDeployments.map(({ jobId }) => jobId)).toEqual([id])
    await insertJob(db, { ...job, status: "Completed", createdAt: inDays(-1), completedAt: inDays(-1) })
    expect((await inventory.alarms()).failedDeployments).toEqual([])
  })

  test("counts what hangs on an agent, and names what lapses first", async () => {
    const { db, inventory } = await place()
    await insertTarget(db, { id: "tgt-2", name: "mail", agentId: "agent-1" })
    for (let n = 2; n < 7; n += 1) {
      await insertCertificate(db, { id: `mc-${n}`, status: "Active", expiresAt: inDays(n) })
      await mapTarget(db, `mc-${n}`, "tgt-1")
      await mapTarget(db, `mc-${n}`, "tgt-2")
    }
    await insertCertificate(db, { id: "mc-gone", status: "Archived", expiresAt: inDays(1) })
    await mapTarget(db, "mc-gone", "tgt-1")
    const dependents = await inventory.dependentsOf(["agent-1", "agent-none"])
    expect([...dependents.values()]).toEqual([{ agentId: "agent-1", certificates: 6, firstExpiresAt: inDays(2) }])
    expect((await inventory.firstToLapse(["agent-1"])).map(({ id }) => id)).toEqual(["mc-2", "mc-3", "mc-4"])
    const facts = await inventory.agentFacts("agent-1")
    expect(facts.targets.map(({ name, certificates }) => [name, certificates.length])).toEqual([
      ["mail", 5],
      ["web", 6],
    ])
    expect(facts.dependencies).toEqual({ activeTargets: 2, activeCertificates: 7, pendingJobs: 0 })
    expect(facts.discovered).toBe(0)
  })

  test("tells what lapsed, what comes next, and how often it was tried", async () => {
    const { db, inventory } = await place()
    await insertCertificate(db, { id: "mc-late", status: "Expired", expiresAt: inDays(-1) })
    const failed = { type: "Renewal", status: "Failed", certificateId: "mc-1" } as const
    await insertJob(db, { ...failed, attempts: 3, createdAt: inDays(-20) })
    await insertJob(db, { ...failed, attempts: 2, createdAt: inDays(-0.5) })
    await insertJob(db, { ...failed, attempts: 1, createdAt: inDays(-0.4) })
    await insertJob(db, {
      ...{ type: "Renewal", status: "AwaitingApproval", certificateId: "mc-late", createdAt: inDays(-5) },
    })
    const { expired, approvals } = await inventory.alarms()
    expect(expired.map(({ id, autoRenew }) => [id, autoRenew])).toEqual([["mc-late", true]])
    expect(approvals).toEqual({ count: 1, oldestAt: inDays(-5), firstExpiresAt: inDays(-1) })
    expect(await inventory.failedAttempts(["mc-1", "mc-late"])).toEqual([{ certificateId: "mc-1", attempts: 3 }])
    const { nextRenewal, expiringNext } = await inventory.ahead(5)
    expect(nextRenewal).toEqual({ id: "mc-1", commonName: "www.example.com", renewAt: inDays(30) })
    expect(expiringNext.map(({ id, owner, renewal }) => [id, owner, renewal])).toEqual([
      ["mc-1", "owner", { kind: "automatic", at: inDays(30) }],
    ])
  })

  test("gives names for ids, and what forms choose from", async () => {
    const { db, inventory } = await place()
    const rows = await db.read.select().from(db.t.certificates)
    const { issuers, owners, teams, policies, profiles } = await inventory.referencesOf(rows)
    expect([issuers.get("iss-1")?.name, owners.get("o-1")?.name, teams.get("t-1")?.name]).toEqual([
      "issuer",
      "owner",
      "team",
    ])
    expect([policies.get("rp-1")?.renewalWindowDays, profiles.size]).toEqual([30, 0])
    const job = { certificateId: "mc-1", targetId: "tgt-1", agentId: null }
    const subjects = await inventory.subjectsOf([job])
    expect([subjects.certificates.get("mc-1")?.commonName, subjects.targets.get("tgt-1")?.name]).toEqual([
      "www.example.com",
      "web",
    ])
    expect((await inventory.choices()).owners).toEqual([{ id: "o-1", name: "owner" }])
    expect(await inventory.targetChoices()).toEqual([{ id: "tgt-1", name: "web", agent: "edge" }])
    expect((await inventory.policyChoices()).map(({ id }) => id)).toEqual(["rp-1"])
  })

  test("says who renews a certificate, by the rules of the renewal check", async () => {
    const { inventory } = await place()
    const certificate = {
      status: "Active",
      source: "",
      renewAt: inDays(3),
      renewalPolicyId: "rp-1",
      certificateProfileId: null,
    }
    const rules = { autoRenew: true, requiresApproval: false }
    expect(inventory.outlookOf(certificate, rules, true)).toEqual({ kind: "automatic", at: inDays(3) })
    expect(inventory.outlookOf(certificate, rules, false)).toEqual({ kind: "manual" })
    expect(inventory.outlookOf(certificate, { ...rules, autoRenew: false }, true).kind).toBe("approval")
    expect(inventory.outlookOf(certificate, { ...rules, requiresApproval: true }, true).kind).toBe("approval")
    expect(inventory.outlookOf({ ...certificate, source: "EST" }, rules, true)).toEqual({
      kind: "client",
      protocol: "EST",
    })
    expect(inventory.outlookOf({ ...certificate, status: "Revoked" }, rules, true).kind).toBe("none")
    expect(inventory.outlookOf({ ...certificate, renewAt: null }, rules, true).kind).toBe("none")
  })
})
