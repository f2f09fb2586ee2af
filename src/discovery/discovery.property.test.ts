/** What people make of found certificates while two servers take in reports of the same places. */
import { expect } from "bun:test"
import { inArray } from "drizzle-orm"
import fc from "fast-check"
import type { Db } from "../db/db"
import { adminActor, agentActor } from "../testing/api"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges, untoldChanges } from "../testing/recorded-changes"
import { serviceParts } from "../testing/resource-api"
import { insertAgent, insertCertificate } from "../testing/rows"
import { canMove } from "./discovery.machine"
import { type DiscoveryService, discoveryService } from "./discovery.service"
import { discoveryStore } from "./discovery.store"

const agentId = "agent-1"
const certificateIds = ["mc-1", "mc-2"]
const places = ["/etc/a.pem", "/etc/b.pem", "/etc/c.pem"]
const fingerprintOf = (place: string) => Buffer.from(place.padEnd(32)).toString("hex")

type Command =
  | { does: "report"; places: string[] }
  | { does: "claim"; pick: number; certificateId: string }
  | { does: "dismiss"; pick: number }

interface World {
  readonly db: Db
  readonly servers: readonly DiscoveryService[]
  readonly changes: RecordedChanges
}

const pick = fc.nat({ max: 2 })

race<Command, World>("the triage of found certificates", {
  command: fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ does: fc.constant("report" as const), places: fc.subarray(places, { minLength: 1 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        does: fc.constant("claim" as const),
        pick,
        certificateId: fc.constantFrom(...certificateIds, "mc-none"),
      }),
    },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("dismiss" as const), pick }) },
  ),
  refusals: ["bad_reference", "invalid_state"],

  async open(handles) {
    const [db] = handles
    await insertAgent(db, { id: agentId })
    for (const id of certificateIds) await insertCertificate(db, { id })
    const servers = handles.map((handle) =>
      discoveryService({
        ...serviceParts(handle),
        discoveries: discoveryStore(handle),
        demandActiveAgent: async () => {},
      }),
    )
    const changes = await recordChanges(db, { table: "discovered_certificates", state: (row) => `${row}.status` })
    return { db, servers, changes }
  },

  async begin({ db, changes }) {
    await db.transaction(async (tx) => {
      await tx.delete(db.t.discoveredCertificates)
      await tx.delete(db.t.discoveryScans)
    })
    await changes.forget()
  },

  async perform({ db, servers }, command, at) {
    const server = servers[at]
    if (server === undefined) throw new Error("there is no such server")
    if (command.does === "report") {
      const certificates = command.places.map((place) => ({
        fingerprint_sha256: fingerprintOf(place),
        source_path: place,
      }))
      return server.report(agentId, { directories: ["/etc"], certificates, errors: [] }, agentActor(agentId))
    }
    const rows = await db.read.select({ id: db.t.discoveredCertificates.id }).from(db.t.discoveredCertificates)
    const id = rows[command.pick]?.id
    if (id === undefined) return
    return command.does === "claim"
      ? server.claim(id, command.certificateId, adminActor)
      : server.dismiss(id, adminActor)
  },

  async check({ db, changes }) {
    const { discoveredCertificates, discoveryScans, auditEvents } = db.t
    const happened = await changes.all()
    expect(illegalChanges(happened, canMove)).toEqual([])
    const rows = await db.read.select().from(discoveredCertificates)
    const ids = rows.map(({ id }) => id)
    const events = await db.read
      .select()
      .from(auditEvents)
      .where(inArray(auditEvents.resourceId, ["", ...ids]))
      .orderBy(auditEvents.id)
    const told = events.map(({ resourceId, details: { from, to } }) => ({
      id: resourceId,
      from: String(from),
      to: String(to),
    }))
    expect(untoldChanges(happened, told)).toEqual([])
    // One row per place, however many reports came at once, and each of them counted as new exactly once.
    expect(new Set(rows.map(({ sourcePath }) => sourcePath)).size).toBe(rows.length)
    const scans = await db.read.select().from(discoveryScans)
    expect(scans.reduce((total, { certificatesNew }) => total + certificatesNew, 0)).toBe(rows.length)
    for (const { status, managedCertificateId, dismissedAt } of rows) {
      expect(managedCertificateId !== null).toBe(status === "Managed")
      expect(dismissedAt !== null).toBe(status === "Dismissed")
    }
  },
})
