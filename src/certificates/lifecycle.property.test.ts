/**
 * The life of certificates under anything that people, agents, CAs, crashes and time do to it at once: several agents per
 * certificate, waves, retries, approvals. CERTCTL_PROPERTY_RUNS sets how many histories are tried, CERTCTL_PROPERTY_SEED
 * repeats those of a failure.
 */
import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import fc from "fast-check"
import type { Actor } from "../access/actor"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { isIssuing, isOpen, mayRetry } from "../jobs/job.machine"
import { operatorActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { type FleetAgent, fleetAgent, type Outcome } from "../testing/lifecycle-agent"
import { type Observed, observe, problemsOf, recordLifecycle, unaccounted } from "../testing/lifecycle-invariants"
import {
  agentIds,
  type CaMood,
  certificateIds,
  dayMs,
  type LifecycleServer,
  layOut,
  lifecycleServer,
  outsideCa,
  ServerDied,
  targetIds,
  wavesByAgent,
} from "../testing/lifecycle-world"
import { onEachDialect, openBeside, removeTestDatabases } from "../testing/on-each-dialect"
import { isTerminal } from "./certificate.machine"

const minuteMs = 60_000
const lifetimeMs = 90 * dayMs
const approver: Actor = { name: "approver", type: "User", role: "admin" }

type LoopName = "process" | "retry" | "reap" | "settle" | "check" | "outbox"
/** One thing that somebody does; `server`: which of the two is asked. */
type Command = { readonly server: number } & (
  | { does: "renew"; certificate: string; force: boolean }
  | { does: "poll"; agent: string; says: boolean; loses: boolean }
  | { does: "work" | "pollAndWork"; agent: string; outcome: Outcome }
  | { does: "die" | "retire"; agent: string }
  | { does: "repeatCsr"; agent: string; certificate: string }
  | { does: "ownCsr"; agent: string; certificate: string; isGood: boolean }
  | { does: "lateReport"; agent: string; pick: number; status: "Running" | "Completed" | "Failed" }
  | { does: "lateVerify"; agent: string; pick: number; isGood: boolean }
  | { does: "cancel"; pick: number }
  | { does: "decide"; pick: number; approves: boolean; isSelf: boolean }
  | { does: "decideRequest"; pick: number; approves: boolean; isSelf: boolean }
  | { does: "map"; certificate: string; targets: string[] }
  | { does: "enable"; target: string; isEnabled: boolean }
  | { does: "deploy"; certificate: string; target: string | undefined }
  | { does: "policy"; certificate: string; asks: boolean }
  | { does: "loop"; loop: LoopName }
  | { does: "wait"; ms: number }
  | { does: "ca"; mood: CaMood }
  | { does: "release" }
  | { does: "crash"; after: number }
  | { does: "archive" | "revoke"; certificate: string }
)

const pick = fc.nat({ max: 11 })
const isTrue = fc.boolean()
const mostly = fc.constantFrom(true, true, false)
const rarely = fc.constantFrom(false, false, false, true)
const agent = fc.constantFrom(...agentIds)
const certificate = fc.constantFrom(...certificateIds)
const target = fc.constantFrom(...targetIds)
const targets = fc.uniqueArray(target, { minLength: 1, maxLength: 4 })
const outcome = fc.constantFrom<Outcome[]>("ok", "ok", "ok", "fails", "unverified", "serves-another")
const status = fc.constantFrom("Running", "Completed", "Failed")
const loop = fc.constantFrom<LoopName[]>("process", "retry", "reap", "settle", "check", "outbox")
const mood = fc.constantFrom<CaMood[]>("order", "refused-order", "fail", "hang", "lose-answer")
const ms = fc.constantFrom(1000, minuteMs, 6 * minuteMs, dayMs / 24, dayMs + minuteMs, 61 * dayMs)

const one = (weight: number, does: Command["does"], parts: Record<string, fc.Arbitrary<unknown>> = {}) => ({
  weight,
  arbitrary: fc.record(
    { does: fc.constant(does), server: fc.constantFrom(0, 1), ...parts },
    { noNullPrototype: true },
  ) as unknown as fc.Arbitrary<Command>,
})

const command = fc.oneof(
  one(240, "renew", { certificate, force: isTrue }),
  one(360, "poll", { agent, says: isTrue, loses: fc.constantFrom(false, false, false, true) }),
  one(600, "work", { agent, outcome }),
  // An agent on its best behaviour gets further than chance would.
  one(480, "pollAndWork", { agent, outcome }),
  one(60, "die", { agent }),
  one(60, "repeatCsr", { agent, certificate }),
  one(60, "ownCsr", { agent, certificate, isGood: isTrue }),
  one(60, "lateReport", { agent, pick, status }),
  one(60, "lateVerify", { agent, pick, isGood: isTrue }),
  one(60, "cancel", { pick }),
  one(120, "decide", { pick, approves: mostly, isSelf: rarely }),
  one(120, "decideRequest", { pick, approves: mostly, isSelf: rarely }),
  one(120, "map", { certificate, targets }),
  one(60, "enable", { target, isEnabled: isTrue }),
  one(60, "deploy", { certificate, target: fc.option(target, { nil: undefined }) }),
  one(60, "policy", { certificate, asks: isTrue }),
  one(300, "loop", { loop }),
  one(180, "wait", { ms }),
  one(180, "ca", { mood }),
  one(60, "release"),
  one(120, "crash", { after: fc.nat({ max: 6 }) }),
  one(25, "retire", { agent }),
  one(25, "archive", { certificate }),
  one(40, "revoke", { certificate }),
)
const step = fc.array(command, { minLength: 1, maxLength: 3 })
const history = fc.record({
  waves: fc.integer({ min: 1, max: 3 }),
  mapped: fc.uniqueArray(target, { minLength: 1, maxLength: 4 }),
  reusesServerIds: fc.boolean(),
  steps: fc.array(step, { minLength: 6, maxLength: 28, size: "max" }),
})
type History = typeof history extends fc.Arbitrary<infer H> ? H : never

/** What callers are told when they ask for what is not possible at the moment. */
const expected = new Set([
  "conflict",
  "invalid_state",
  "not_found",
  "forbidden",
  "validation",
  "gone",
  "upstream",
  "unavailable",
])

const play = async (db: Db, { waves, mapped, reusesServerIds, steps }: History): Promise<void> => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  await layOut(db, clock.now())
  const changes = await recordLifecycle(db)
  const handles = [db, await openBeside(db)] as const
  const ca = outsideCa(clock.now, lifetimeMs)
  const bugs: unknown[] = []
  let started = 0
  const startServer = async (previous?: LifecycleServer): Promise<LifecycleServer> => {
    previous?.stop()
    started += 1
    const serverId = reusesServerIds && previous !== undefined ? previous.serverId : `server-${started}`
    const onError = (what: string, error: unknown) => {
      if (!(error instanceof AppError) || !expected.has(error.code)) bugs.push(`${what}: ${error}`)
    }
    const fresh = lifecycleServer({
      ...{ db: handles[started % 2] ?? db, clock, serverId, ca, lifetimeMs, onError },
      planWaves: wavesByAgent(waves),
      answerWithinMs: 5,
    })
    await fresh.processor.dropOwnLeases()
    return fresh
  }
  const servers = [await startServer(), await startServer()]
  const fleet = new Map<string, FleetAgent>(agentIds.map((id) => [id, fleetAgent(id)]))
  const agentNamed = (id: string): FleetAgent => {
    const found = fleet.get(id)
    if (found === undefined) throw new Error(`there is no agent ${id}`)
    return found
  }
  for (const id of certificateIds) {
    await servers[0]?.certificates.update(id, { targetIds: mapped }, operatorActor)
  }
  const never = new AbortController().signal

  const enable = (targetServer: LifecycleServer, id: string, enabled: boolean) =>
    targetServer.call(
      targetServer.db.transaction(async (tx) => {
        await targetServer.lifecycle.lockAll(tx, certificateIds)
        await tx.update(db.t.deploymentTargets).set({ enabled }).where(eq(db.t.deploymentTargets.id, id))
        for (const certificateId of certificateIds) await targetServer.lifecycle.afterTargetsChanged(tx, certificateId)
      }),
    )

  const runLoop = (at: LifecycleServer, loop: LoopName): Promise<unknown> => {
    switch (loop) {
      case "process":
        return at.processor.process(never)
      case "retry":
        return at.processor.retry(never)
      case "reap":
        return at.processor.reap()
      case "settle":
        return at.processor.settleStragglers(never)
      case "check":
        return at.renewals.checkAll(never)
      case "outbox":
        return at.outbox.work(never)
    }
  }

  const some = <R>(rows: readonly R[], pick: number): R | undefined => rows[pick % Math.max(rows.length, 1)]

  const perform = async (action: Command, seen: Observed): Promise<unknown> => {
    const at = servers[action.server]
    if (at === undefined) throw new Error("there is no such server")
    switch (action.does) {
      case "renew":
        return at.call(at.renewals.trigger(action.certificate, { force: action.force }, operatorActor))
      case "poll":
        return agentNamed(action.agent).poll(at, action)
      case "work":
        return agentNamed(action.agent).work(at, action.outcome)
      case "pollAndWork": {
        const worker = agentNamed(action.agent)
        await at.call(at.agents.heartbeat(worker.id, {}))
        await worker.poll(at, { says: true, loses: false })
        while (worker.hasWork()) await worker.work(at, action.outcome)
        return
      }
      case "die":
        return agentNamed(action.agent).die()
      case "repeatCsr": {
        const staged = agentNamed(action.agent).staged.get(action.certificate)
        return staged && agentNamed(action.agent).submit(at, action.certificate, staged.csrPem)
      }
      case "ownCsr": {
        const { agent: id, certificate: certificateId, isGood } = action
        const names = isGood ? [] : ["evil.example.com"]
        const csrPem = await agentNamed(id).makeCsr("", certificateId, `${certificateId}.example.com`, names)
        return agentNamed(id).submit(at, certificateId, csrPem)
      }
      case "lateReport": {
        const job = some(
          seen.jobs.filter(({ agentId }) => agentId === action.agent),
          action.pick,
        )
        return job && agentNamed(action.agent).report(at, job.id, action.status, "late")
      }
      case "lateVerify": {
        const own = seen.jobs.filter(
          (job) => job.agentId === action.agent && job.status === "Completed" && job.targetId,
        )
        const job = some(own, action.pick)
        const item = job && { id: job.id, target_id: job.targetId }
        return item && agentNamed(action.agent).verify(at, item, action.isGood ? "aa" : "bb", "aa")
      }
      case "cancel": {
        const job = some(
          seen.jobs.filter(({ status }) => isOpen(status)),
          action.pick,
        )
        return job && at.call(at.jobs.cancel(job.id, operatorActor))
      }
      case "decide": {
        const job = some(
          seen.jobs.filter(({ status }) => status === "AwaitingApproval"),
          action.pick,
        )
        if (job === undefined) return
        const who = action.isSelf ? operatorActor : approver
        return at.call(action.approves ? at.jobs.approve(job.id, who) : at.jobs.reject(job.id, "", who))
      }
      case "decideRequest": {
        // Decided ones too, now and then: somebody's page may be old.
        const pending = seen.approvals.filter(({ state }) => state === "pending")
        const request = some(pending.length > 0 ? pending : seen.approvals, action.pick)
        if (request === undefined) return
        const who = action.isSelf ? operatorActor : approver
        return at.call(at.approvals.decide(request.id, action.approves ? "approved" : "rejected", "", who))
      }
      case "map":
        return at.call(at.certificates.update(action.certificate, { targetIds: action.targets }, operatorActor))
      case "enable":
        return enable(at, action.target, action.isEnabled)
      case "deploy":
        return at.call(at.deployments.deploy(action.certificate, { targetId: action.target }, operatorActor))
      case "policy": {
        const renewalPolicyId = action.asks ? "rp-asks" : "rp-auto"
        return at.call(at.certificates.update(action.certificate, { renewalPolicyId }, operatorActor))
      }
      case "loop":
        return at.call(runLoop(at, action.loop))
      case "wait":
        return clock.advance(action.ms)
      case "ca":
        return ca.be(action.mood)
      case "release":
        return ca.release()
      case "crash":
        return action.after === 0 ? at.kill() : at.dieAfter(action.after)
      case "retire":
        return at.call(at.agents.retire(action.agent, { force: true, reason: "gone" }, operatorActor))
      case "archive":
        return at.call(at.certificates.archive(action.certificate, operatorActor))
      case "revoke":
        return at.call(at.revocations.revoke(action.certificate, { reason: "superseded", actor: operatorActor }))
    }
  }

  const attempt = async (work: Promise<unknown>): Promise<void> => {
    try {
      await work
    } catch (error) {
      const isExpected = error instanceof ServerDied || (error instanceof AppError && expected.has(error.code))
      if (!isExpected) throw error
    }
  }

  let mayLag = false
  const check = async (): Promise<Observed> => {
    if (bugs.length > 0) throw new Error(`a loop reported: ${bugs.join("; ")}`)
    for (const each of servers) while (each.isBusy()) await Bun.sleep(1)
    const seen = await observe(db)
    expect(problemsOf(seen, clock.now(), mayLag)).toEqual([])
    expect(unaccounted(await changes.all(), seen)).toEqual([])
    for (const [id, { signed }] of fleet) {
      for (const { certificateId, csrPem } of signed) {
        const isThere = seen.versions.some((row) => row.certificateId === certificateId && row.csrPem === csrPem)
        if (!isThere) throw new Error(`${id} was told that its CSR for ${certificateId} is signed`)
      }
    }
    return seen
  }

  let seen = await check()
  for (const actions of steps) {
    for (const [place, old] of servers.entries()) if (old.isDead()) servers[place] = await startServer(old)
    const before = seen
    await Promise.all(actions.map((action) => attempt(perform(action, before))))
    if (actions.some((action) => action.does === "wait")) mayLag = true
    seen = await check()
  }

  // Everything works again: what was begun comes to its end by itself.
  ca.be("sign")
  ca.release()
  const healer = await startServer()
  servers.push(healer)
  const calm = async (): Promise<Observed> => {
    for (let round = 0; round < 40; round += 1) {
      clock.advance(6 * minuteMs)
      for (const loop of ["check", "process", "retry", "reap"] as const) await runLoop(healer, loop)
      for (const job of (await observe(db)).jobs) {
        if (job.status === "AwaitingApproval") await attempt(healer.jobs.approve(job.id, approver))
      }
      await healer.processor.process(never)
      for (const worker of fleet.values()) {
        const { retiredAt } = await healer.agents.get(worker.id)
        if (retiredAt !== null) continue
        await healer.agents.heartbeat(worker.id, {})
        await worker.poll(healer, { says: true, loses: false })
        while (worker.hasWork()) await attempt(worker.work(healer, "ok"))
      }
      await healer.processor.settleStragglers(never)
      mayLag = false
      const now = await check()
      const isOver = now.jobs.every((job) => {
        if (mayRetry(job)) return now.certificates.some((row) => row.id === job.certificateId && isTerminal(row.status))
        return !isOpen(job.status) || isForNobody(now, job)
      })
      if (isOver) return now
    }
    const { jobs, rollouts } = await observe(db)
    const left = jobs.filter((job) => isOpen(job.status) || mayRetry(job))
    const lines = jobs
      .filter((job) => left.some(({ certificateId }) => certificateId === job.certificateId))
      .map(
        ({
          id,
          type,
          status,
          agentId,
          targetId,
          attempts,
          rolloutId,
          wave,
          hold,
          lastError,
          completedAt,
          verificationStatus,
        }) =>
          [
            id,
            type,
            status,
            agentId,
            targetId,
            attempts,
            rolloutId,
            wave,
            hold,
            lastError,
            verificationStatus,
            completedAt?.toISOString(),
          ].join(" "),
      )
    throw new Error(`still not done at ${clock.now().toISOString()}:\n${lines.join("\n")}\n${JSON.stringify(rollouts)}`)
  }
  /** A key is asked for, and no agent is there to make it. */
  const isForNobody = (now: Observed, job: Observed["jobs"][number]): boolean =>
    isIssuing(job.type) && job.agentId === null && (now.places.get(job.certificateId ?? "") ?? []).length === 0

  await calm()
  for (const id of certificateIds) await attempt(healer.renewals.trigger(id, { force: true }, operatorActor))
  const last = await calm()
  for (const row of last.certificates) {
    const places = last.places.get(row.id) ?? []
    if (isTerminal(row.status) || places.length === 0) continue
    expect(`${row.id} ${row.status}`).toBe(`${row.id} Active`)
    for (const { targetId, agentId } of places) {
      const newest = last.versions.findLast(
        (version) => version.certificateId === row.id && version.agentId === agentId,
      )
      const deployment = last.jobs.findLast((job) => job.certificateId === row.id && job.targetId === targetId)
      expect([targetId, deployment?.status, deployment?.versionId]).toEqual([targetId, "Completed", newest?.id])
    }
  }
  // A run that waits for its first target stays open.
  const isServed = (id: string) => (last.places.get(id) ?? []).length > 0
  expect(last.rollouts.filter((row) => row.state === "running" && isServed(row.certificateId))).toEqual([])
  // Every issuer has heard of what was revoked, however often it or a server was away.
  clock.advance(60 * minuteMs)
  await healer.outbox.work(never)
  const { outbox, revocations, versions } = await observe(db)
  expect(outbox.filter((row) => row.doneAt === null)).toEqual([])
  for (const { serialNumber, issuerId, issuerNotified } of revocations) {
    const version = versions.find((row) => row.serialNumber === serialNumber)
    const wasTold = issuerNotified && (issuerId === "iss-inside" || ca.revoked.includes(serialNumber))
    const isExpired = version !== undefined && version.notAfter <= clock.now()
    expect([serialNumber, wasTold || isExpired]).toEqual([serialNumber, true])
  }
  for (const old of servers) old.stop()
}

const wanted = process.env.CERTCTL_PROPERTY_RUNS
const seed = process.env.CERTCTL_PROPERTY_SEED

onEachDialect("certificates", (openDb, dialect) => {
  test("reach a good state from every history, and never pass through a bad one", async () => {
    const property = fc.asyncProperty(history, async (given) => {
      const db = await openDb()
      try {
        await play(db, given)
      } finally {
        await removeTestDatabases()
      }
    })
    // PostgreSQL takes several times as long, and adds real interleavings to the same rules.
    const numRuns = wanted === undefined ? (dialect === "sqlite" ? 15 : 8) : Number(wanted)
    await fc.assert(property, { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) })
  }, 3_600_000)
})
