import { expect, test } from "bun:test"
import { eq } from "drizzle-orm"
import fc from "fast-check"
import { onEachDialect, openBeside, reopen } from "../testing/on-each-dialect"
import { migrationsFolder } from "../testing/postgres"
import { insertAgent, insertCertificate, insertJob } from "../testing/rows"
import {
  type CountedList,
  combinationsOf,
  countedLists,
  countedTables,
  type ListName,
  noValue,
  startOfDay,
  type ValuePlace,
  valuePlaces,
} from "./counted-lists"
import type { Db, Tx } from "./db"
import { migrate } from "./migrate"
import { foldRowCounts } from "./row-count-folding"
import { rowCounts } from "./row-counts"

const start = new Date("2030-03-01T00:00:00Z")
const hour = 3_600_000
const at = (hours: number) => new Date(start.getTime() + hours * hour)

interface Group {
  readonly list: string
  readonly day: number
  readonly values: readonly string[]
  readonly n: number
}

const lineOf = ({ list, day, values, n }: Group) => `${list} day ${day} [${values.join(", ")}]: ${n}`

const linesOf = (list: string, groups: Iterable<Group>): string[] =>
  [...groups].filter(({ n }) => n !== 0).map((group) => lineOf({ ...group, list }))

/** What the counters and the changes say together, groups without rows left out. */
const countedIn = async (db: Db): Promise<string[]> => {
  const { rowCounts: counters, rowChanges } = db.t
  const stored = await db.read.select().from(counters)
  const changes = await db.read.select().from(rowChanges)
  return (Object.keys(countedLists) as ListName[])
    .flatMap(combinationsOf)
    .flatMap(({ key, table, places, day, without }) => {
      const used = new Set<string>(Object.values(places))
      const groups = new Map<string, Group>()
      const add = (row: Pick<typeof rowChanges.$inferSelect, ValuePlace | "n">, of: number) => {
        const values = valuePlaces.map((place) => (used.has(place) ? row[place] : ""))
        const group = JSON.stringify([of, values])
        groups.set(group, { list: key, day: of, values, n: (groups.get(group)?.n ?? 0) + row.n })
      }
      for (const row of stored) if (row.list === key) add(row, row.day)
      for (const row of changes) {
        const of = day === undefined ? 0 : row[day]
        const isLeftOut = without !== undefined && row[without.place] === without.value
        if (row.source === table && of !== null && !isLeftOut) add(row, of)
      }
      return linesOf(key, groups.values())
    })
    .sort()
}

/** The same, counted here. */
const recounted = async (db: Db): Promise<string[]> => {
  const lines: string[] = []
  for (const name of Object.keys(countedLists) as ListName[]) {
    const { table, day, without }: CountedList = countedLists[name]
    const columns: readonly string[] = countedTables[table].values
    const rows: Record<string, unknown>[] = await db.changeSchema((connection) =>
      connection.all(`select * from ${table}`),
    )
    for (const { key, places } of combinationsOf(name)) {
      const used = new Set<string>(Object.values(places))
      const groups = new Map<string, Group>()
      for (const row of rows) {
        if (day !== undefined && row[day] === null) continue
        if (without !== undefined && row[without.column] === without.value) continue
        const values = valuePlaces.map((place, at) =>
          used.has(place) ? ((row[columns[at] ?? ""] as string | null) ?? noValue) : "",
        )
        const of =
          day === undefined ? 0 : Math.floor(new Date(row[day] as Date | number).getTime() / startOfDay(1).getTime())
        const group = JSON.stringify([of, values])
        groups.set(group, { list: key, day: of, values, n: (groups.get(group)?.n ?? 0) + 1 })
      }
      lines.push(...linesOf(key, groups.values()))
    }
  }
  return lines.sort()
}

const certificateIds = ["mc-1", "mc-2", "mc-3", "mc-4"] as const
const statuses = ["Pending", "Active", "Expired"] as const
const hours = [-24 * 30_000, -25, -1, 0, 1, 23, 24, 49] as const

const hoursOrNull = fc.constantFrom(null, ...hours)
const place = { certificate: fc.constantFrom(...certificateIds), hours: hoursOrNull }
const change = fc.oneof(
  fc.record({
    kind: fc.constant("certificate" as const),
    status: fc.constantFrom(...statuses),
    team: fc.constantFrom("t-1", "t-2"),
    profile: fc.constantFrom(null, "prof-1"),
    ...place,
  }),
  fc.record({
    kind: fc.constant("revise" as const),
    status: fc.constantFrom(...statuses),
    profile: fc.constantFrom(null, "prof-1"),
    ...place,
  }),
  fc.record({ kind: fc.constant("move everything" as const), status: fc.constantFrom(...statuses) }),
  fc.record({
    kind: fc.constant("job" as const),
    agent: fc.constantFrom(null, "agent-1", "agent-2"),
    status: fc.constantFrom("Pending", "Completed"),
    ...place,
  } as const),
  fc.record({
    kind: fc.constant("finish jobs" as const),
    agent: fc.constantFrom("agent-1", "agent-2"),
    hours: hoursOrNull,
  }),
  fc.record({
    kind: fc.constant("violation" as const),
    certificate: place.certificate,
    rule: fc.constantFrom("pol-1", "pol-2"),
  }),
  fc.record({
    kind: fc.constant("audit" as const),
    actor: fc.constantFrom("kim", "agent-1"),
    action: fc.constantFrom("a", "b"),
    hours: fc.constantFrom(...hours),
    rows: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ kind: fc.constant("delete" as const), certificate: place.certificate }),
  fc.record({ kind: fc.constant("drop rule" as const), rule: fc.constantFrom("pol-1", "pol-2") }),
  fc.record({ kind: fc.constant("drop agent" as const), agent: fc.constantFrom("agent-1", "agent-2") }),
  fc.record({ kind: fc.constant("drop profile" as const) }),
)
type Change = typeof change extends fc.Arbitrary<infer C> ? C : never

const stamps = { createdAt: start, updatedAt: start }
const timeOf = (value: number | null) => (value === null ? null : at(value))
let nextRow = 0
const newRowId = (prefix: string) => `${prefix}${++nextRow}`

const apply = async ({ t }: Db, tx: Tx, step: Change): Promise<void> => {
  switch (step.kind) {
    case "certificate":
      await tx
        .insert(t.certificates)
        .values({
          id: step.certificate,
          name: step.certificate,
          commonName: "x",
          sans: [],
          tags: {},
          ownerId: "o-1",
          teamId: step.team,
          issuerId: "iss-1",
          renewalPolicyId: "rp-1",
          certificateProfileId: step.profile,
          status: step.status,
          expiresAt: timeOf(step.hours),
          ...stamps,
        })
        .onConflictDoUpdate({ target: t.certificates.id, set: { status: step.status, teamId: step.team } })
      return
    case "revise":
      await tx
        .update(t.certificates)
        .set({ status: step.status, certificateProfileId: step.profile, expiresAt: timeOf(step.hours) })
        .where(eq(t.certificates.id, step.certificate))
      return
    case "move everything":
      await tx.update(t.certificates).set({ status: step.status })
      return
    case "job":
      await tx.insert(t.jobs).values({
        id: newRowId("job-"),
        type: "Deployment",
        status: step.status,
        agentId: step.agent,
        completedAt: timeOf(step.hours),
        statusSince: start,
        scheduledAt: start,
        createdAt: start,
      })
      return
    case "finish jobs":
      await tx
        .update(t.jobs)
        .set({ status: "Completed", completedAt: timeOf(step.hours) })
        .where(eq(t.jobs.agentId, step.agent))
      return
    case "violation":
      await tx
        .insert(t.policyViolations)
        .values({
          id: newRowId("v-"),
          certificateId: step.certificate,
          ruleId: step.rule,
          message: "x",
          severity: "Error",
          createdAt: start,
        })
        .onConflictDoNothing()
      return
    case "audit":
      await tx.insert(t.auditEvents).values(
        Array.from({ length: step.rows }, () => ({
          id: newRowId("audit-"),
          actor: step.actor,
          actorType: step.actor === "kim" ? ("User" as const) : ("Agent" as const),
          action: step.action,
          resourceType: "team",
          resourceId: "t-1",
          details: {},
          timestamp: at(step.hours),
        })),
      )
      return
    case "delete":
      await tx.delete(t.certificates).where(eq(t.certificates.id, step.certificate))
      return
    case "drop rule":
      await tx.delete(t.policyRules).where(eq(t.policyRules.id, step.rule))
      return
    case "drop agent":
      await tx.delete(t.agents).where(eq(t.agents.id, step.agent))
      return
    case "drop profile":
      await tx.delete(t.certificateProfiles).where(eq(t.certificateProfiles.id, "prof-1"))
  }
}

/** What the changes refer to. Deleted ones stay away: a change that needs them fails, as it would. */
const insertPlaces = async (db: Db): Promise<void> => {
  await insertCertificate(db, { id: "mc-1" })
  await insertAgent(db, { id: "agent-1" })
  await insertAgent(db, { id: "agent-2" })
  await db.transaction(async (tx) => {
    const lists = { allowedKeyAlgorithms: [], allowedEkus: [], requiredSanPatterns: [], requiredCsrAttributes: [] }
    await tx.insert(db.t.teams).values({ id: "t-2", name: "t-2", ...stamps })
    await tx.insert(db.t.certificateProfiles).values({ id: "prof-1", name: "prof-1", ...lists, ...stamps })
    for (const id of ["pol-1", "pol-2"]) {
      await tx.insert(db.t.policyRules).values({ id, name: id, type: "x", config: {}, ...stamps })
    }
  })
}

const undone = new Error("undone")

/** SQLite answers reads at once: whoever does nothing else would keep the others from their turn. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

onEachDialect("row counts", (openDb, dialect) => {
  test("are those of the rows after any changes, cascades and rollbacks, whoever else writes and folds meanwhile", async () => {
    const db = await openDb()
    const beside = await openBeside(db)
    await insertPlaces(db)
    const writer = fc.record({ changes: fc.array(change, { minLength: 1, maxLength: 4 }), isUndone: fc.boolean() })
    const round = fc.record({ writers: fc.array(writer, { minLength: 1, maxLength: 5 }), isFolded: fc.boolean() })
    const write = ({ changes, isUndone }: { changes: readonly Change[]; isUndone: boolean }, on: Db) =>
      on.transaction(async (tx) => {
        for (const step of changes) await apply(on, tx, step)
        if (isUndone) throw undone
      })
    const property = fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 4 }), async (rounds) => {
      for (const { writers, isFolded } of rounds) {
        await Promise.all([
          // What fails, for a row that is gone or in a deadlock, is undone like any other.
          ...writers.map((one, i) => write(one, i % 2 === 0 ? db : beside).catch(() => undefined)),
          ...(isFolded ? [foldRowCounts(db), foldRowCounts(beside)] : []),
        ])
        expect(await countedIn(db)).toEqual(await recounted(db))
      }
    })
    await fc.assert(property, { numRuns: dialect === "sqlite" ? 60 : 25 })
    await foldRowCounts(db)
    expect(await db.read.select().from(db.t.rowChanges)).toEqual([])
    expect(await countedIn(db)).toEqual(await recounted(db))
  }, 120_000)

  test("are right at every moment while many write and others fold", async () => {
    const db = await openDb()
    const beside = await openBeside(db)
    await insertCertificate(db, { id: "mc-1" })
    await insertAgent(db, { id: "agent-1" })
    const counts = rowCounts(beside)
    const writes = 40
    let written = 0
    const writer = async (on: Db): Promise<void> => {
      for (let round = 0; round < writes; round += 1) {
        await on.transaction(async (tx) => {
          // Each is a sum of two that a reader must never see one half of.
          await apply(on, tx, { kind: "job", agent: "agent-1", status: "Pending", certificate: "mc-1", hours: null })
          await apply(on, tx, { kind: "job", agent: null, status: "Completed", certificate: "mc-1", hours: 1 })
        })
        written += 1
        await on.transaction((tx) => apply(on, tx, { kind: "finish jobs", agent: "agent-1", hours: 2 }))
      }
    }
    const work = Promise.all([writer(db), writer(beside)])
    let isOver = false
    const folding = async (on: Db): Promise<void> => {
      while (!isOver) {
        await foldRowCounts(on)
        await nextTurn()
      }
    }
    const reading = async (): Promise<void> => {
      let least = 0
      while (!isOver) {
        const before = written
        const total = await counts.total("jobs")
        const statuses = await counts.byValue("jobs", "status")
        const ofAgents = await counts.total("jobs", { agentId: ["agent-1"] })
        expect(total % 2).toBe(0)
        expect(total).toBeGreaterThanOrEqual(Math.max(least, 2 * before))
        expect(statuses.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(total)
        expect(statuses.every(({ count }) => count > 0)).toBe(true)
        expect(ofAgents).toBeGreaterThanOrEqual(total / 2)
        least = total
        await nextTurn()
      }
    }
    const others = Promise.all([folding(db), folding(beside), reading(), reading()])
    await work.finally(() => {
      isOver = true
    })
    await others
    expect(await counts.total("jobs")).toBe(4 * writes)
    expect(await counts.total("finishedJobs")).toBe(4 * writes)
    expect(await countedIn(db)).toEqual(await recounted(db))
  }, 60_000)

  test("are added up in pieces where one statement changes thousands of rows", async () => {
    const db = await openDb()
    const { auditEvents } = db.t
    const events = Array.from({ length: 2500 }, (_, i) => ({
      id: newRowId("audit-"),
      actor: `actor-${i % 7}`,
      actorType: "User" as const,
      action: "a",
      resourceType: "team",
      resourceId: "t-1",
      details: {},
      timestamp: at(i),
    }))
    await db.transaction((tx) => tx.insert(auditEvents).values(events))
    await foldRowCounts(db)
    expect(await db.read.select().from(db.t.rowChanges)).toEqual([])
    expect(await countedIn(db)).toEqual(await recounted(db))
  })

  test("are not lost when the server ends before, or while, they are added up", async () => {
    const db = await openDb()
    for (const status of ["Pending", "Running"] as const) await insertJob(db, { type: "Deployment", status })
    const again = await reopen(db)
    const counts = rowCounts(again)
    expect(await counts.total("jobs")).toBe(2)
    const folding = foldRowCounts(again).catch(() => undefined)
    const last = await reopen(again)
    await folding
    expect(await rowCounts(last).total("jobs", { status: "Running" })).toBe(1)
    await foldRowCounts(last)
    expect(await last.read.select().from(last.t.rowChanges)).toEqual([])
    expect(await countedIn(last)).toEqual(await recounted(last))
  })

  test("are counted anew after a migration, and where there were rows before the counters", async () => {
    const db = await openDb()
    await insertPlaces(db)
    await insertJob(db, { type: "Deployment", status: "Pending", agentId: "agent-1" })
    const right = await countedIn(db)
    await db.transaction(async (tx) => {
      await tx.update(db.t.rowCounts).set({ n: 7 })
      await tx.delete(db.t.settings)
    })
    await migrate(db, { folder: migrationsFolder })
    expect(await countedIn(db)).toEqual(right)
    await insertJob(db, { type: "Deployment", status: "Pending", agentId: "agent-2" })
    expect(await countedIn(db)).toEqual(await recounted(db))
  })

  test("answer totals by any of their dimensions, alone and together", async () => {
    const db = await openDb()
    const counts = rowCounts(db)
    await insertAgent(db, { id: "agent-1" })
    for (const status of ["Pending", "Running", "Running", "Failed"] as const) {
      await insertJob(db, { type: "Deployment", status, agentId: "agent-1" })
    }
    await insertJob(db, { type: "Renewal", status: "Running" })
    await insertJob(db, { type: "Renewal", status: "Cancelled" })
    expect(await counts.total("jobs")).toBe(6)
    expect(await counts.total("jobs", { status: undefined, type: "Renewal" })).toBe(2)
    expect(await counts.total("jobs", { status: ["Pending", "Running"], agentId: "agent-1" })).toBe(3)
    expect(await counts.total("jobs", { agentId: null })).toBe(2)
    expect(await counts.total("jobs", { agentId: "" })).toBe(0)
    expect(await counts.total("jobs", { status: [] })).toBe(0)
    expect(await counts.byValue("jobs", "status", { type: "Deployment" })).toEqual([
      { value: "Failed", count: 1 },
      { value: "Pending", count: 1 },
      { value: "Running", count: 2 },
    ])
  })

  test("answer ranges of time from whole days and, at the ends, from the rows", async () => {
    const db = await openDb()
    const counts = rowCounts(db)
    const { certificates } = db.t
    for (const hoursFromStart of [-30, -1, 0, 5, 24, 47, 50, 80]) {
      await insertCertificate(db, { status: "Active", expiresAt: at(hoursFromStart) })
    }
    await insertCertificate(db, { status: "Revoked", expiresAt: at(30) })
    const inRange = async (from: number | null, until: number | null) => {
      const asked: string[] = []
      const pieces = async (piece: { from: Date; until: Date }) => {
        asked.push(
          `${(piece.from.getTime() - start.getTime()) / hour}..${(piece.until.getTime() - start.getTime()) / hour}`,
        )
        const rows = await db.read.select().from(certificates).where(eq(certificates.status, "Active"))
        return rows.filter(({ expiresAt }) => expiresAt !== null && expiresAt >= piece.from && expiresAt < piece.until)
          .length
      }
      const range = { from: timeOf(from), until: timeOf(until) }
      return [await counts.within("certificateExpiries", range, pieces, { status: "Active" }), asked]
    }
    expect(await inRange(null, null)).toEqual([8, []])
    expect(await inRange(0, 48)).toEqual([4, []])
    expect(await inRange(-2, 51)).toEqual([6, ["-2..0", "48..51"]])
    expect(await inRange(1, 6)).toEqual([1, ["1..6"]])
    expect(await inRange(-2, 6)).toEqual([3, ["-2..0", "0..6"]])
    expect(await inRange(null, 6)).toEqual([4, ["0..6"]])
    expect(await inRange(49, null)).toEqual([2, ["49..72"]])
    expect(await inRange(6, 6)).toEqual([0, []])
    expect(await counts.perDay("certificateExpiries", { from: start, until: null }, { status: "Active" })).toHaveLength(
      4,
    )
  })
})
