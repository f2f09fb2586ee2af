import { expect, test } from "bun:test"
import { Registry } from "prom-client"
import { alertMetrics } from "./alert.metrics"

test("expiry alerts are counted by channel, threshold and result, from zero on; other news are not", async () => {
  const registry = new Registry()
  const { delivered, deduped } = alertMetrics(registry)
  const value = async (channel: string, threshold: number, result: string) => {
    const series = `certctl_expiry_alerts_total{channel="${channel}",threshold="${threshold}",result="${result}"} `
    const line = (await registry.metrics()).split("\n").find((text) => text.startsWith(series))
    return line === undefined ? null : Number(line.slice(series.length))
  }
  expect(await value("Email", 30, "success")).toBe(0)
  expect(await value("Email", 45, "success")).toBeNull()
  const alert = { type: "ExpirationWarning", channel: "Email", message: "text [threshold:45]" }
  delivered(alert, true)
  delivered(alert, false)
  delivered(alert, false)
  delivered({ ...alert, type: "RenewalFailure" }, true)
  delivered({ ...alert, message: "text" }, true)
  deduped("Slack", 7)
  expect(await value("Email", 45, "success")).toBe(1)
  expect(await value("Email", 45, "failure")).toBe(2)
  expect(await value("Email", 45, "deduped")).toBe(0)
  expect(await value("Slack", 7, "deduped")).toBe(1)
})
