/**
 * How SQLite reads the lists that grow without end: along an index in their order, or by a condition that few rows meet. A list that
 * sorts or looks through everything is found here and not by the first who has a million rows.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import Database from "better-sqlite3"
import { eq } from "drizzle-orm"
import { drizzle } from "drizzle-orm/better-sqlite3"
import { auditStore } from "../audit/audit.store"
import { certificateStore } from "../certificates/certificate.store"
import type { Db, Query } from "../db/db"
import { migrate } from "../db/migrate"
import { openDatabase } from "../db/open"
import { withStablePlan } from "../db/sqlite-statements"
import { discoveryStore } from "../discovery/discovery.store"
import { jobStore } from "../jobs/job.store"
import { notificationStore } from "../notifications/notification.store"
import { policyStore } from "../policies/policy.store"
import { statsStore } from "../stats/stats.store"
import { targetStore } from "../targets/target.store"
import { migrationsFolder } from "./postgres"

const folder = mkdtempSync(join(tmpdir(), "certctl-plans-"))
const sent: { text: string; parameters: unknown[] }[] = []
let open: Db
let db: Db
let raw: Database.Database

beforeAll(async () => {
  open = await openDatabase({ url: "sqlite:plans.db", dataDir: folder, maxConnections: 1 })
  await migrate(open, { folder: migrationsFolder })
  raw = new Database(join(folder, "plans.db"))
  const logger = { logQuery: (text: string, parameters: unknown[]) => void sent.push({ text, parameters }) }
  const read = drizzle({ client: raw, logger }) as unknown as Query
  db = { ...open, read, scan: read }
})
afterAll(async () => {
  raw.close()
  await open.close()
  rmSync(folder, { recursive: true, force: true })
})

/** The lines of the plan of each query that `ask` sends. */
const plansOf = async (ask: () => Promise<unknown>): Promise<string[]> => {
  sent.length = 0
  await ask()
  return sent.flatMap(({ text, parameters }) =>
    raw
      .prepare<unknown[], { detail: string }>(`explain query plan ${withStablePlan(text)}`)
      .all(...parameters)
      .map(({ detail }) => detail),
  )
}

/**
 * A row of a table without index, or all rows sorted. Sorting the last term means those that share all others. Of the changes that are
 * not counted yet there are at most some hundred.
 */
const isSlow = (step: string): boolean =>
  (step.startsWith("SCAN") &&
    !/USING (COVERING )?INDEX|^SCAN (some|grouped$|one$|CONSTANT ROW$|counted$|row_changes$|\(subquery)/.test(step)) ||
  step === "USE TEMP B-TREE FOR ORDER BY"

const first = { limit: 50, after: null }
const later = { limit: 50, after: { createdAt: new Date(0), id: "x" } }
const page = { limit: 50, offset: 0 }
const at = new Date("2030-01-01T00:00:00Z")

const expectQuick = (name: string, ask: () => Promise<unknown>) =>
  test(name, async () => {
    const steps = await plansOf(ask)
    expect(steps.length).toBeGreaterThan(0)
    expect(steps.filter(isSlow)).toEqual([])
  })

test("a list that sorts or looks through everything is noticed", async () => {
  const { jobs } = db.t
  expect(
    (await plansOf(() => db.read.select().from(jobs).orderBy(jobs.lastError).limit(1))).filter(isSlow),
  ).toHaveLength(2)
  expect((await plansOf(() => db.read.select().from(jobs).where(eq(jobs.lastError, "x")))).filter(isSlow)).toHaveLength(
    1,
  )
})

describe("certificates are read along an index", () => {
  const filters = {
    "all of them": {},
    "of a status": { status: "Failed" },
    "of an environment": { environment: "x" },
    "of an owner": { ownerId: "x" },
    "of a team": { teamId: "x" },
    "of an issuer": { issuerId: "x" },
    "of a profile": { profileId: "x" },
    "of an owner and a status": { status: "Active", ownerId: "x" },
    "of everything at once": {
      status: "Active",
      ownerId: "x",
      teamId: "x",
      issuerId: "x",
      profileId: "x",
      environment: "x",
    },
  } as const
  for (const [name, filter] of Object.entries(filters)) {
    for (const slice of [first, later]) {
      expectQuick(`${name}${slice === later ? ", from a row on" : ""}`, () =>
        certificateStore(db).list(filter, null, slice),
      )
    }
    expectQuick(`${name}, the number of them`, () => certificateStore(db).total(filter))
  }
  for (const column of [
    "expiresAt",
    "createdAt",
    "updatedAt",
    "commonName",
    "name",
    "status",
    "environment",
  ] as const) {
    for (const descending of [false, true]) {
      expectQuick(`by ${column}${descending ? ", descending" : ""}`, () =>
        certificateStore(db).list({}, { column, descending }, page),
      )
    }
  }
  test("of an owner rather than of a status that most have", async () => {
    const steps = await plansOf(() => certificateStore(db).list({ status: "Active", ownerId: "x" }, null, later))
    expect(steps.join()).toContain("idx_managed_certificates_owner_id")
  })
  for (const filter of [
    { agentId: "x" },
    { expiresBefore: at },
    { updatedAfter: at },
    { createdAfter: at, teamId: "x" },
  ]) {
    test(`few with ${Object.keys(filter).join(" and ")} by what makes them few`, async () => {
      const steps = await plansOf(() => certificateStore(db).list(filter, null, later))
      expect(steps.filter((step) => step.startsWith("SCAN") && !/^SCAN (some|\(subquery)/.test(step))).toEqual([])
      expect(steps.join()).not.toContain("SCAN managed_certificates")
    })
  }
})

describe("other lists are read along an index:", () => {
  const audit = {
    "": {},
    "of an actor": { actor: "x" },
    "of a type of actor": { actorType: "User" },
    "of an action": { action: "x" },
    "of a type of resource": { resourceType: "x" },
    "of a resource": { resourceType: "x", resourceId: "x" },
    "without API calls": { withoutApiCalls: true },
    "of a time": { from: at, to: at },
    "of an actor and a time": { actor: "x", from: at },
  } as const
  for (const [name, filter] of Object.entries(audit)) {
    expectQuick(`audit events ${name}`, () => auditStore(db).list(filter, later))
    expectQuick(`the number of audit events ${name}`, () => auditStore(db).count(filter))
  }
  const jobs = {
    "": {},
    "of a status": { status: "Failed" },
    "of a type": { type: "Renewal" },
    "of an agent": { agentId: "x" },
    "of a certificate": { certificateId: "x" },
    "of a target": { targetId: "x" },
  } as const
  for (const [name, filter] of Object.entries(jobs)) {
    expectQuick(`jobs ${name}`, () => jobStore(db).list(filter, later))
    expectQuick(`the number of jobs ${name}`, () => jobStore(db).total(filter))
  }
  for (const filter of [{}, { status: "dead" }, { type: "x" }, { certificateId: "x" }]) {
    expectQuick(`notifications ${Object.keys(filter)}`, () => notificationStore(db).list(filter, later))
  }
  expectQuick("notifications by when they were sent", () => notificationStore(db).list({}, page))
  expectQuick("violations", () => policyStore(db).violations({ ruleId: "x" }, later))
  expectQuick("discovered certificates", () => discoveryStore(db).list({}, page))
  expectQuick("discovered certificates of a status", () => discoveryStore(db).list({ status: "Unmanaged" }, page))
  expectQuick("discovered certificates of an agent", () => discoveryStore(db).list({ agentId: "x" }, page))
  expectQuick("discovery scans", () => discoveryStore(db).scans({}, page))
  expectQuick("discovery scans of an agent", () => discoveryStore(db).scans({ agentId: "x" }, page))
  for (const slice of [first, later, page]) {
    test(`the few targets of an agent ${Object.keys(slice)} by what makes them few`, async () => {
      const steps = await plansOf(() => targetStore(db).listOfAgent("x", {}, slice))
      expect(steps.join()).toContain("uq_deployment_targets_agent_id_name")
    })
  }
  expectQuick("the numbers of the dashboard", async () => {
    const stats = statsStore(db)
    await stats.totals({ now: at, expiringUntil: new Date(at.getTime() + 1), heardSince: at })
    await stats.certificatesByStatus(at, new Date(at.getTime() + 1))
    const range = { from: at, until: at }
    await Promise.all([stats.expirations(range), stats.creations(range), stats.finishedJobs(range)])
  })
})
