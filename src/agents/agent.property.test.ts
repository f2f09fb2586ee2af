/** The life of agents: signs of life, silence and retirement at the same moment, on two servers. */
import { expect } from "bun:test"
import { inArray } from "drizzle-orm"
import fc from "fast-check"
import type { Db } from "../db/db"
import { adminActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { type LifecycleServer, layOut, lifecycleServer, outsideCa } from "../testing/lifecycle-world"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges, untoldChanges } from "../testing/recorded-changes"
import { insertAgent, insertTarget, mapTarget } from "../testing/rows"
import { canMove } from "./agent.machine"

const minuteMs = 60_000
const silenceMs = 2 * minuteMs
const pick = fc.nat({ max: 1 })

type Command =
  | { does: "heartbeat"; pick: number }
  | { does: "sweep" }
  | { does: "wait"; ms: number }
  | { does: "retire"; pick: number; force: boolean }

interface World {
  readonly db: Db
  readonly clock: ReturnType<typeof testClock>
  readonly servers: readonly LifecycleServer[]
  readonly changes: RecordedChanges
  /** The two of this history. */
  agentIds: string[]
  histories: number
}

race<Command, World>("an agent", {
  command: fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant("heartbeat" as const), pick }) },
    { weight: 4, arbitrary: fc.record({ does: fc.constant("sweep" as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        does: fc.constant("wait" as const),
        ms: fc.constantFrom(1000, silenceMs, silenceMs + 1, 5 * minuteMs),
      }),
    },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("retire" as const), pick, force: fc.boolean() }) },
  ),
  refusals: ["gone", "conflict"],

  async open(handles) {
    const [db] = handles
    const clock = testClock("2030-01-01T00:00:00.000Z")
    await layOut(db, clock.now())
    const ca = outsideCa(clock.now, minuteMs)
    const servers = handles.map((handle, place) =>
      lifecycleServer({ db: handle, clock, serverId: `server-${place}`, ca, lifetimeMs: minuteMs }),
    )
    const state = (row: string) => `case when ${row}.retired_at is null then ${row}.status else 'Retired' end`
    return {
      db,
      clock,
      servers,
      changes: await recordChanges(db, { table: "agents", state }),
      agentIds: [],
      histories: 0,
    }
  },

  async begin(world) {
    const { db, clock } = world
    world.histories += 1
    world.agentIds = [`agent-a${world.histories}`, `agent-b${world.histories}`]
    for (const [place, id] of world.agentIds.entries()) {
      // One that was never heard of, and one with something that depends on it.
      await insertAgent(db, place === 0 ? { id } : { id, status: "Online", lastHeartbeatAt: clock.now() })
      if (place === 1) {
        const target = await insertTarget(db, { agentId: id })
        await mapTarget(db, "mc-inside", target.id)
      }
    }
    await world.changes.forget()
  },

  async perform({ clock, servers, agentIds }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    switch (command.does) {
      case "heartbeat":
        return server.agents.heartbeat(agentIds[command.pick] ?? "", { version: `${at}` })
      case "sweep":
        return server.agents.markSilent(silenceMs)
      case "wait":
        return clock.advance(command.ms)
      case "retire":
        return server.agents.retire(agentIds[command.pick] ?? "", { force: command.force, reason: "gone" }, adminActor)
    }
  },

  async check({ db, clock, changes, agentIds }) {
    const { agents, auditEvents, deploymentTargets } = db.t
    const happened = (await changes.all()).filter(({ id }) => agentIds.includes(id))
    expect(illegalChanges(happened, canMove)).toEqual([])
    const events = await db.read
      .select()
      .from(auditEvents)
      .where(inArray(auditEvents.resourceId, agentIds))
      .orderBy(auditEvents.id)
    const told = events.flatMap(({ resourceId, details: { from, to } }) =>
      to === undefined ? [] : [{ id: resourceId, from: String(from), to: String(to) }],
    )
    expect(untoldChanges(happened, told)).toEqual([])

    const rows = await db.read.select().from(agents).where(inArray(agents.id, agentIds))
    for (const { id, status, lastHeartbeatAt, retiredAt } of rows) {
      const wasHeard = happened.some((change) => change.id === id && change.to === "Online") || id.startsWith("agent-b")
      const silentMs = clock.now().getTime() - (lastHeartbeatAt?.getTime() ?? 0)
      if (retiredAt !== null) {
        expect(status).toBe("Offline")
        expect(lastHeartbeatAt === null || lastHeartbeatAt <= retiredAt).toBe(true)
        const left = await db.read
          .select()
          .from(deploymentTargets)
          .where(inArray(deploymentTargets.agentId, [id]))
        expect(left.filter((target) => target.retiredAt === null)).toEqual([])
      } else if (wasHeard && status === "Offline") expect(silentMs).toBeGreaterThan(silenceMs)
    }
  },
})
