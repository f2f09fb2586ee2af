/** The states of watched endpoints: looks from two servers, changed settings and people who acknowledge, all at once. */
import { expect } from "bun:test"
import { eq, inArray } from "drizzle-orm"
import fc from "fast-check"
import type { ProbeResult } from "../connectors/probe"
import type { Db } from "../db/db"
import { adminActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges, untoldChanges } from "../testing/recorded-changes"
import { serviceParts } from "../testing/resource-api"
import { canMove, isNews } from "./health-check.machine"
import { type HealthCheckService, healthCheckService } from "./health-check.service"
import { type HealthStatus, healthCheckStore } from "./health-check.store"

const endpoint = "www.example.com:443"
const fingerprints = ["aa", "bb"].map((byte) => byte.repeat(32))

type Command =
  | { does: "look"; fingerprint: string | null; endpoint: string }
  | { does: "pin"; fingerprint: string }
  | { does: "acknowledge" }
  | { does: "enable"; isEnabled: boolean }
  | { does: "wait" }

interface World {
  readonly db: Db
  readonly clock: ReturnType<typeof testClock>
  readonly servers: readonly HealthCheckService[]
  readonly changes: RecordedChanges
  readonly news: HealthStatus[]
  id: string
}

const lookAt = (address: string, fingerprint: string | null): ProbeResult =>
  fingerprint === null
    ? { address, responseMs: 5, ok: false, error: "connection refused" }
    : {
        address,
        responseMs: 5,
        ok: true,
        served: {
          fingerprint,
          tlsVersion: "TLSv1.3",
          cipherSuite: "TLS_AES_128_GCM_SHA256",
          subject: "www.example.com",
          issuer: "Test CA",
          notBefore: new Date(0),
          notAfter: new Date(0),
          serial: "01",
          chainDer: [],
        },
      }

race<Command, World>("a health check", {
  command: fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        does: fc.constant("look" as const),
        fingerprint: fc.constantFrom(null, null, ...fingerprints),
        // What a look at a former endpoint found, told late.
        endpoint: fc.constantFrom(endpoint, endpoint, endpoint, "old.example.com:443"),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ does: fc.constant("pin" as const), fingerprint: fc.constantFrom("", ...fingerprints) }),
    },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("acknowledge" as const) }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("enable" as const), isEnabled: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant("wait" as const) }) },
  ),
  refusals: [],

  async open(handles) {
    const [db] = handles
    const clock = testClock("2030-01-01T00:00:00.000Z")
    const news: HealthStatus[] = []
    const servers = handles.map((handle) =>
      healthCheckService({
        ...serviceParts(handle),
        clock,
        checks: healthCheckStore(handle),
        onNews: async (_tx, { status }) => void news.push(status),
      }),
    )
    const changes = await recordChanges(db, { table: "endpoint_health_checks", state: (row) => `${row}.status` })
    return { db, clock, servers, changes, news, id: "" }
  },

  async begin(world) {
    const [server] = world.servers
    const check = await server?.create(
      {
        endpoint,
        certificateId: null,
        networkScanTargetId: null,
        status: "unknown",
        expectedFingerprint: "",
        checkIntervalSeconds: 300,
        degradedThreshold: 2,
        downThreshold: 4,
        enabled: true,
      },
      adminActor,
    )
    world.id = check?.id ?? ""
    world.news.length = 0
    await world.changes.forget()
  },

  async perform({ clock, servers, id }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    switch (command.does) {
      case "look":
        return server.observe(id, lookAt(command.endpoint, command.fingerprint))
      case "pin":
        return server.update(id, { expectedFingerprint: command.fingerprint }, adminActor)
      case "acknowledge":
        return server.acknowledge(id, "tester", adminActor)
      case "enable":
        return server.update(id, { enabled: command.isEnabled }, adminActor)
      case "wait":
        return clock.advance(300_000)
    }
  },

  async check({ db, changes, news, id }) {
    const { healthChecks, healthHistory, auditEvents } = db.t
    const happened = await changes.all()
    expect(illegalChanges(happened, canMove)).toEqual([])
    const events = await db.read
      .select()
      .from(auditEvents)
      .where(inArray(auditEvents.resourceId, [id]))
      .orderBy(auditEvents.id)
    const told = events.flatMap(({ details: { from, to } }) =>
      to === undefined ? [] : [{ id, from: String(from), to: String(to) }],
    )
    expect(untoldChanges(happened, told)).toEqual([])
    const newsworthy = happened.filter(({ from, to }) => isNews(from as HealthStatus, to as HealthStatus))
    expect([...news].sort()).toEqual(newsworthy.map(({ to }) => to as HealthStatus).sort())

    const [check] = await db.read.select().from(healthChecks).where(eq(healthChecks.id, id))
    if (check === undefined) throw new Error("the check is gone")
    const looks = (
      await db.read.select().from(healthHistory).where(eq(healthHistory.healthCheckId, id)).orderBy(healthHistory.id)
    ).filter(({ checkedAt }) => check.lastCheckedAt !== null && checkedAt <= check.lastCheckedAt)
    // Each failed look counts once, however many there are at the same moment.
    const lastSuccess = looks.findLastIndex(({ failureReason }) => failureReason === "")
    expect(check.consecutiveFailures).toBeLessThanOrEqual(looks.length - 1 - lastSuccess)
    const { status, consecutiveFailures } = check
    if (status === "down") expect(consecutiveFailures).toBeGreaterThanOrEqual(4)
    if (status === "degraded") expect(consecutiveFailures).toBeWithin(2, 4)
    if (status === "healthy" || status === "cert_mismatch") expect(consecutiveFailures).toBeLessThan(2)
    if (status === "unknown") expect(check.lastCheckedAt).toBeNull()
    if (status === "cert_mismatch") expect(check.observedFingerprint).not.toBe(check.expectedFingerprint)
    expect(check.acknowledged).toBe(check.acknowledgedAt !== null)
  },
})
