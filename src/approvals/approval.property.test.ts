/** Approval requests under everything that may happen to their jobs at the same moment, on two servers. */
import { expect } from "bun:test"
import { and, desc, eq, inArray } from "drizzle-orm"
import fc from "fast-check"
import type { Actor } from "../access/actor"
import type { Db } from "../db/db"
import { openStatuses } from "../jobs/job.machine"
import { operatorActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { dayMs, type LifecycleServer, layOut, lifecycleServer, outsideCa } from "../testing/lifecycle-world"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges, untoldChanges } from "../testing/recorded-changes"
import { canMove, type Decision } from "./approval.machine"

const certificateId = "mc-approved"
const person = (name: string): Actor => ({ ...operatorActor, name })

type Command =
  | { does: "ask"; by: string; force: boolean }
  | { does: "decide" | "decideJob"; by: string; decision: Decision; pick: number }
  | { does: "cancel"; pick: number }
  | { does: "wait" | "reap" }

interface World {
  readonly db: Db
  readonly clock: ReturnType<typeof testClock>
  readonly servers: readonly LifecycleServer[]
  readonly changes: RecordedChanges
}

const does = <const D extends string>(...names: D[]) => fc.constantFrom(...names)
const by = fc.constantFrom("anna", "bert", "owner")
const decision = fc.constantFrom<Decision[]>("approved", "rejected")
const pick = fc.nat({ max: 1 })

race<Command, World>("an approval request", {
  command: fc.oneof(
    { weight: 4, arbitrary: fc.record({ does: does("ask"), by, force: fc.boolean() }) },
    { weight: 6, arbitrary: fc.record({ does: does("decide", "decideJob"), by, decision, pick }) },
    { weight: 2, arbitrary: fc.record({ does: does("cancel"), pick }) },
    { weight: 2, arbitrary: fc.record({ does: does("wait", "reap") }) },
  ),
  refusals: ["conflict", "invalid_state", "forbidden", "not_found"],
  share: 0.4,

  async open(handles) {
    const [db] = handles
    const clock = testClock("2030-01-01T00:00:00.000Z")
    await layOut(db, clock.now())
    const ca = outsideCa(clock.now, 90 * dayMs)
    const servers = handles.map((handle, place) =>
      lifecycleServer({ db: handle, clock, serverId: `server-${place}`, ca, lifetimeMs: 90 * dayMs }),
    )
    await servers[0]?.certificates.update(certificateId, { targetIds: ["agent-1-a"] }, operatorActor)
    const changes = await recordChanges(db, { table: "issuance_approval_requests", state: (row) => `${row}.state` })
    return { db, clock, servers, changes }
  },

  async begin({ db, servers, changes }) {
    const { jobs } = db.t
    const isOpen = inArray(jobs.status, [...openStatuses])
    const open = await db.read
      .select()
      .from(jobs)
      .where(and(eq(jobs.certificateId, certificateId), isOpen))
    for (const { id } of open) await servers[0]?.jobs.cancel(id, operatorActor)
    await changes.forget()
  },

  async perform({ db, clock, servers }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    // The newest and the one before it: somebody may look at a page that is not of this moment.
    const request = async (place: number) =>
      (
        await db.read
          .select()
          .from(db.t.approvalRequests)
          .orderBy(desc(db.t.approvalRequests.id))
          .limit(place + 1)
      )[place]
    switch (command.does) {
      case "ask":
        return server.renewals.trigger(certificateId, { force: command.force }, person(command.by))
      case "decide": {
        const found = await request(command.pick)
        return found && server.approvals.decide(found.id, command.decision, "", person(command.by))
      }
      case "decideJob": {
        const found = await request(command.pick)
        if (found === undefined) return
        return command.decision === "approved"
          ? server.jobs.approve(found.jobId, person(command.by))
          : server.jobs.reject(found.jobId, "", person(command.by))
      }
      case "cancel": {
        const found = await request(command.pick)
        return found && server.jobs.cancel(found.jobId, operatorActor)
      }
      case "wait":
        return clock.advance(8 * dayMs)
      case "reap":
        return server.processor.reap()
    }
  },

  async check({ db, changes }) {
    const { approvalRequests, auditEvents, jobs } = db.t
    const happened = await changes.all()
    expect(illegalChanges(happened, canMove)).toEqual([])
    const ids = [...new Set(happened.map(({ id }) => id))]
    if (ids.length === 0) return
    const requests = await db.read.select().from(approvalRequests).where(inArray(approvalRequests.id, ids))
    const events = await db.read
      .select()
      .from(auditEvents)
      .where(inArray(auditEvents.resourceId, ids))
      .orderBy(auditEvents.id)
    const told = events.flatMap(({ resourceId, action }) => {
      const to = /^approval_(approved|rejected|expired)$/.exec(action)?.[1]
      return to === undefined ? [] : [{ id: resourceId, from: "pending", to }]
    })
    expect(untoldChanges(happened, told)).toEqual([])

    const jobIds = requests.map(({ jobId }) => jobId)
    const statusOf = new Map(
      (await db.read.select().from(jobs).where(inArray(jobs.id, jobIds))).map(({ id, status }) => [id, status]),
    )
    for (const { id, jobId, state, requestedBy, decidedBy, decidedAt } of requests) {
      expect([id, statusOf.get(jobId) === "AwaitingApproval"]).toEqual([id, state === "pending"])
      expect([id, decidedBy === null, decidedAt === null]).toEqual([id, state === "pending", state === "pending"])
      // Two people: never the one who asked, and never a yes of the owner.
      if (state === "approved") expect([requestedBy, "owner"]).not.toContain(decidedBy ?? "")
      if (state === "rejected") expect(decidedBy).not.toBe(requestedBy)
    }
    expect(requests.filter(({ state }) => state === "pending").length).toBeLessThanOrEqual(1)
  },
})
