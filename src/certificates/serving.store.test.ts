import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertAgent, insertCertificate, insertTarget, mapTarget } from "../testing/rows"
import { servingStore } from "./serving.store"

const stamps = { createdAt: new Date(0), updatedAt: new Date(0) }

/** One certificate on a target each of a Linux and a Windows agent. */
const twoPlaces = async (db: Db) => {
  const certificate = await insertCertificate(db)
  for (const os of ["linux", "windows"]) {
    const agent = await insertAgent(db, { id: `agent-${os}`, os })
    const target = await insertTarget(db, { id: `tgt-${os}`, agentId: agent.id })
    await mapTarget(db, certificate.id, target.id)
  }
  return certificate.id
}

const limitPolicyTo = (db: Db, group: Partial<Db["t"]["agentGroups"]["$inferInsert"]>) =>
  db.transaction(async (tx) => {
    await tx.insert(db.t.agentGroups).values({ id: "ag-1", name: "group", ...stamps, ...group })
    await tx.update(db.t.renewalPolicies).set({ agentGroupId: "ag-1" })
  })

/** The same is said of one certificate as of several. */
const agentsOf = async (db: Db, certificateId: string) => {
  const serving = servingStore(db)
  const places = await serving.places(certificateId)
  const ofSeveral = await serving.placesOf([certificateId, "mc-nowhere"])
  expect(ofSeveral.get(certificateId) ?? []).toEqual(places)
  return places.map(({ agentId }) => agentId).sort()
}

onEachDialect("the agents that serve a certificate", (openDb) => {
  test("are those of its enabled targets", async () => {
    const db = await openDb()
    const id = await twoPlaces(db)
    expect(await agentsOf(db, id)).toEqual(["agent-linux", "agent-windows"])
    await db.transaction(async (tx) => {
      await tx.update(db.t.deploymentTargets).set({ enabled: false })
    })
    expect(await agentsOf(db, id)).toEqual([])
  })

  test("are only those of the group that its renewal policy names", async () => {
    const db = await openDb()
    const id = await twoPlaces(db)
    await limitPolicyTo(db, { matchOs: "linux" })
    expect(await agentsOf(db, id)).toEqual(["agent-linux"])
  })

  test("follow what the group says explicitly before its criteria", async () => {
    const db = await openDb()
    const id = await twoPlaces(db)
    await limitPolicyTo(db, { matchOs: "linux" })
    await db.transaction(async (tx) => {
      const rows = [
        { agentId: "agent-linux", membershipType: "exclude" as const },
        { agentId: "agent-windows", membershipType: "include" as const },
      ]
      await tx
        .insert(db.t.agentGroupMembers)
        .values(rows.map((row) => ({ agentGroupId: "ag-1", createdAt: new Date(0), ...row })))
    })
    expect(await agentsOf(db, id)).toEqual(["agent-windows"])
  })

  test("are none while the group is disabled", async () => {
    const db = await openDb()
    const id = await twoPlaces(db)
    await limitPolicyTo(db, { matchOs: "linux", enabled: false })
    expect(await agentsOf(db, id)).toEqual([])
  })
})
