import { expect, test } from "bun:test"
import { Registry } from "prom-client"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertJob } from "../testing/rows"
import { until } from "../testing/until"
import { deploymentMetrics } from "./deployment.metrics"

onEachDialect("metrics of deployments", (openDb) => {
  test("count what was committed, by type of target, from zero on", async () => {
    const db = await openDb()
    const registry = new Registry()
    const typeOf = async (id: string) => {
      if (id !== "tgt-1") throw new Error("gone")
      return "NGINX"
    }
    const { moved, reported, verified } = deploymentMetrics({ registry, db, typeOf })
    const job = { ...(await insertJob(db, { type: "Deployment", status: "Completed" })), targetId: "tgt-1" }
    const value = async (series: string) => {
      const line = (await registry.metrics()).split("\n").find((text) => text.startsWith(`certctl_deploy_${series} `))
      return line === undefined ? null : Number(line.slice(line.lastIndexOf(" ")))
    }
    const series = [
      'attempts_total{target_type="NGINX",result="success"}',
      'attempts_total{target_type="NGINX",result="failure"}',
      'attempts_total{target_type="unknown",result="failure"}',
      'validate_failures_total{target_type="NGINX"}',
      'reload_failures_total{target_type="NGINX"}',
      'post_verify_failures_total{target_type="NGINX"}',
      'idempotent_skip_total{target_type="NGINX"}',
      'rollback_total{target_type="NGINX",outcome="restored"}',
      'rollback_total{target_type="NGINX",outcome="also_failed"}',
    ]
    const values = () => Promise.all(series.map(value))
    expect(await values()).toEqual(series.map(() => 0))

    await db.transaction(async (tx) => {
      moved(tx, job)
      moved(tx, { ...job, status: "Failed" })
      moved(tx, { ...job, status: "Failed", targetId: "tgt-gone" })
      moved(tx, { ...job, status: "Running" })
      moved(tx, { ...job, type: "Renewal" })
      reported(tx, job, { idempotent: true })
      reported(tx, job, { failed_step: "validate", rollback: "restored" })
      reported(tx, job, { failed_step: "reload", rollback: "also_failed" })
      reported(tx, job, { failed_step: "verify" })
      // Words of a newer agent.
      reported(tx, job, { failed_step: "teleport", rollback: "half" })
      reported(tx, job, {})
      verified(tx, job, false)
      verified(tx, job, true)
    })
    await until("all is counted", async () => (await value(series[5] ?? "")) === 2)
    expect(await values()).toEqual([1, 1, 1, 1, 1, 2, 1, 1, 1])

    const rolledBack = db.transaction(async (tx) => {
      moved(tx, job)
      throw new Error("rolled back")
    })
    await expect(rolledBack).rejects.toThrow("rolled back")
    expect(await values()).toEqual([1, 1, 1, 1, 1, 2, 1, 1, 1])
  })
})
