import { expect, test } from "bun:test"
import type { Db } from "../db/db"
import { onEachDialect } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { baselineService } from "./baseline.service"
import { baselineStore } from "./baseline.store"

const setUp = (db: Db) => {
  const parts = serviceParts(db)
  let inserted = 0
  const issuers = {
    async insertFromEnvironment() {
      inserted += 1
    },
  }
  const baseline = baselineService({ ...parts, issuers, baseline: baselineStore(db) })
  return { ...parts, baseline, timesIssuersWereInserted: () => inserted }
}

const idsOf = async (db: Db) => {
  const policies = await db.read.select({ id: db.t.renewalPolicies.id }).from(db.t.renewalPolicies)
  const rules = await db.read.select({ id: db.t.policyRules.id }).from(db.t.policyRules)
  return [...policies, ...rules].map(({ id }) => id).sort()
}

const everything = [
  "pr-allowed-environments",
  "pr-max-certificate-lifetime",
  "pr-min-renewal-window",
  "pr-require-owner",
  "rp-default",
]

onEachDialect("the baseline", (openDb) => {
  test("is inserted into a new database, once, whichever servers start", async () => {
    const db = await openDb()
    const { baseline, actionsOn, timesIssuersWereInserted } = setUp(db)
    await Promise.all([baseline.ensure(), baseline.ensure()])
    await baseline.ensure()
    expect(await idsOf(db)).toEqual(everything)
    expect(timesIssuersWereInserted()).toBe(1)
    expect(await actionsOn("rp-default")).toEqual(["create_renewal_policy"])
    expect(await actionsOn("pr-require-owner")).toEqual(["policy_rule_created"])
  })

  test("does not come back after it was deleted", async () => {
    const db = await openDb()
    const { baseline } = setUp(db)
    await baseline.ensure()
    await db.transaction(async (tx) => {
      await tx.delete(db.t.renewalPolicies)
      await tx.delete(db.t.policyRules)
    })
    await setUp(db).baseline.ensure()
    expect(await idsOf(db)).toEqual([])
  })
})
