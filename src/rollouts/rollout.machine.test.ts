import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { nextStep, type RolloutJob, type RolloutView, verificationPatienceMs, waveOf } from "./rollout.machine"

const now = new Date("2030-01-01T12:00:00.000Z")
const waves = [["t-1", "t-2"], ["t-3"], ["t-4"]]
const at = (agentId: string, isAgentOnline = true) => ({ agentId, isAgentOnline })
const places = new Map([
  ["t-1", at("a-1")],
  ["t-2", at("a-2")],
  ["t-3", at("a-3")],
  ["t-4", at("a-3")],
])

const deployment = (targetId: string, given: Partial<RolloutJob> = {}): RolloutJob => ({
  id: `job-${targetId}`,
  type: "Deployment",
  status: "Completed",
  agentId: places.get(targetId)?.agentId ?? null,
  targetId,
  attempts: 1,
  maxAttempts: 3,
  verificationStatus: "success",
  completedAt: now,
  lastError: null,
  ...given,
})
const key = (agentId: string | null, given: Partial<RolloutJob> = {}): RolloutJob =>
  deployment("", { id: `key-${agentId}`, type: "Renewal", status: "AwaitingCSR", agentId, targetId: null, ...given })

const step = (jobs: RolloutJob[], given: Partial<RolloutView> = {}) => nextStep({ waves, jobs, places, now, ...given })

describe("a roll-out", () => {
  test("begins with its first wave, goes on wave by wave, and is done after the last", () => {
    expect(step([key("a-1"), key("a-2"), key("a-3")])).toEqual({ kind: "wait", wave: 0 })
    const first = [deployment("t-1"), deployment("t-2")]
    expect(step([...first, deployment("t-3", { status: "Pending" })])).toEqual({ kind: "wait", wave: 1 })
    expect(step([...first, deployment("t-3"), deployment("t-4", { status: "Running" })])).toEqual({
      kind: "wait",
      wave: 2,
    })
    expect(step([...first, deployment("t-3"), deployment("t-4")])).toEqual({ kind: "done" })
  })

  test("waits for the verification of every wave but the last, for so long and no longer", () => {
    const unverified = { verificationStatus: "pending" } as const
    const soon = new Date(now.getTime() + verificationPatienceMs)
    const late = new Date(soon.getTime() + 1)
    const jobs = [deployment("t-1", unverified), deployment("t-2"), deployment("t-3"), deployment("t-4")]
    expect(step(jobs, { now: soon })).toEqual({ kind: "wait", wave: 0 })
    expect(step(jobs, { now: late })).toMatchObject({ kind: "halt", wave: 0, reason: expect.stringContaining("t-1") })
    const last = [deployment("t-1"), deployment("t-2"), deployment("t-3"), deployment("t-4", unverified)]
    expect(step(last)).toEqual({ kind: "done" })
  })

  test("halts when a target of an early wave failed for good or serves another certificate, naming it", () => {
    const failed = deployment("t-2", { status: "Failed", attempts: 3, lastError: "the disk is full" })
    expect(step([deployment("t-1"), failed])).toMatchObject({
      kind: "halt",
      wave: 0,
      reason: expect.stringContaining("disk"),
    })
    expect(step([deployment("t-1"), { ...failed, attempts: 1 }])).toEqual({ kind: "wait", wave: 0 })
    const wrong = deployment("t-2", { verificationStatus: "failed" })
    expect(step([deployment("t-1"), wrong])).toMatchObject({ kind: "halt", reason: expect.stringContaining("t-2") })
  })

  test("is not held up by a target without an endpoint, one that went, or a request nobody has approved", () => {
    expect(
      step([
        deployment("t-1", { verificationStatus: "skipped" }),
        deployment("t-2"),
        deployment("t-3", { status: "Pending" }),
      ]),
    ).toEqual({
      kind: "wait",
      wave: 1,
    })
    const without = new Map([...places].filter(([id]) => id !== "t-2"))
    expect(step([deployment("t-1"), deployment("t-3", { status: "Pending" })], { places: without })).toMatchObject({
      wave: 1,
    })
    const asked = key(null, { status: "AwaitingApproval" })
    expect(step([deployment("t-1"), deployment("t-2"), deployment("t-3", { status: "Pending" }), asked])).toEqual({
      kind: "wait",
      wave: 1,
    })
  })

  test("does not let the others wait for a target whose agent is away", () => {
    const away = new Map([...places, ["t-1", at("a-1", false)]])
    const jobs = [deployment("t-1", { status: "Pending" }), deployment("t-2"), deployment("t-3", { status: "Pending" })]
    expect(step(jobs)).toEqual({ kind: "wait", wave: 0 })
    expect(step(jobs, { places: away })).toEqual({ kind: "wait", wave: 1 })
    // It is not forgotten where it has failed.
    const failed = deployment("t-1", { status: "Failed", attempts: 3, lastError: "the disk is full" })
    expect(step([failed, deployment("t-2")], { places: away })).toMatchObject({ kind: "halt", wave: 0 })
  })

  test("counts a target that was mapped since as part of its last wave", () => {
    const more = new Map([...places, ["t-9", at("a-9")]])
    const all = ["t-1", "t-2", "t-3", "t-4"].map((id) => deployment(id))
    expect(step([...all, deployment("t-9", { status: "Pending" })], { places: more })).toEqual({
      kind: "wait",
      wave: 2,
    })
    expect(waveOf(waves, "t-9")).toBe(2)
    expect(waveOf([], "t-9")).toBe(0)
  })

  test("without targets stays open as long as its issuance", () => {
    expect(step([key(null)], { waves: [[]], places: new Map() })).toEqual({ kind: "wait", wave: 0 })
    expect(step([], { waves: [], places: new Map() })).toEqual({ kind: "done" })
  })

  const status = fc.constantFrom<RolloutJob["status"][]>("Pending", "Running", "Completed", "Failed", "Cancelled")
  const verification = fc.constantFrom<RolloutJob["verificationStatus"][]>("pending", "success", "failed", "skipped")
  const someJobs = fc.array(
    fc.record({
      targetId: fc.constantFrom("t-1", "t-2", "t-3", "t-4"),
      status,
      verificationStatus: verification,
      attempts: fc.integer({ min: 0, max: 3 }),
    }),
    { maxLength: 12 },
  )

  test("never lets a wave go before every target of the waves before is good", () => {
    fc.assert(
      fc.property(someJobs, (given) => {
        const jobs = given.map(({ targetId, ...rest }, n) => deployment(targetId, { id: `job-${n}`, ...rest }))
        const next = step(jobs)
        const through = next.kind === "done" ? waves.length - 1 : next.kind === "wait" ? next.wave : 0
        for (const targetId of waves.slice(0, through).flat()) {
          const newest = jobs.findLast((job) => job.targetId === targetId)
          if (newest === undefined) continue
          expect(newest.status).toBe("Completed")
          expect(["success", "skipped"]).toContain(newest.verificationStatus)
        }
      }),
    )
  })

  test("gets at least as far with one more job that went well", () => {
    const reach = (jobs: RolloutJob[]): number => {
      const next = step(jobs)
      return next.kind === "done" ? waves.length : next.wave
    }
    fc.assert(
      fc.property(someJobs, fc.constantFrom("t-1", "t-2", "t-3", "t-4"), (given, targetId) => {
        const jobs = given.map((job, n) => deployment(job.targetId, { id: `job-${n}`, ...job }))
        expect(reach([...jobs, deployment(targetId, { id: "job-good" })])).toBeGreaterThanOrEqual(reach(jobs))
      }),
    )
  })
})
