import { expect, test } from "bun:test"
import fc from "fast-check"
import { newId } from "../db/ids"
import { onEachDialect } from "../testing/on-each-dialect"
import { type AuditFilter, auditStore } from "./audit.store"

const start = new Date("2030-06-15T00:00:00Z")
const at = (hours: number) => new Date(start.getTime() + hours * 3_600_000)
const time = fc.constantFrom(-49, -24, -1, 0, 3, 23, 24, 25, 90).map(at)
const actor = fc.constantFrom("kim", "lee", "agent-1")
const actorType = fc.constantFrom("User" as const, "Agent" as const)
const action = fc.constantFrom("a", "b")
const resourceType = fc.constantFrom("api", "team")
const typeOf: Readonly<Record<string, "User" | "Agent">> = { kim: "User", "agent-1": "Agent" }
const event = fc
  .record({ actor, actorType, action, resourceType, timestamp: time })
  // One that is never an agent, one that is always one, and one that somebody has named like one.
  .map((one) => ({ ...one, actorType: typeOf[one.actor] ?? one.actorType }))
const filter: fc.Arbitrary<AuditFilter> = fc.record(
  {
    ...{ actor, actorType: fc.constantFrom("User", "Agent", "Nobody"), action, resourceType, from: time, to: time },
    resourceId: fc.constantFrom("t-1", "t-2"),
    withoutApiCalls: fc.boolean(),
    search: fc.constantFrom("", "ki"),
  },
  { requiredKeys: [] },
)

onEachDialect("the total of a list of audit events", (openDb, dialect) => {
  test("is the number of rows that the list has, whatever it is filtered by", async () => {
    const db = await openDb()
    const store = auditStore(db)
    const events = fc.sample(event, 60)
    await db.transaction((tx) =>
      store.insert(
        tx,
        events.map((one) => ({ ...one, id: newId("audit-"), resourceId: "t-1", details: {} })),
      ),
    )
    const check = async (asked: AuditFilter) => {
      const rows = await store.list(asked, { limit: 1000, offset: 0 })
      expect(await store.count(asked)).toBe(rows.length)
    }
    await fc.assert(fc.asyncProperty(filter, check), { numRuns: dialect === "sqlite" ? 300 : 150 })
  }, 60_000)
})
