/** PagerDuty's Events API v2: known routing keys, required fields, incidents joined by their key. */
import { runByHand, startVendor, type VendorFake } from "./vendor.fake"

export const pagerdutyKey = "0123456789abcdef0123456789abcdef"

const invalid = (...errors: string[]) =>
  Response.json({ status: "invalid event", message: "Event object is invalid", errors }, { status: 400 })

export interface PagerdutyFake extends VendorFake {
  /** Severity of every open incident by its key. */
  readonly incidents: ReadonlyMap<string, string>
}

export const startPagerduty = async (): Promise<PagerdutyFake> => {
  const incidents = new Map<string, string>()
  const fake = await startVendor({
    path: (path) => path === "/v2/enqueue",
    judge({ json }) {
      const { routing_key, event_action, dedup_key, payload } = json ?? {}
      if (typeof routing_key !== "string" || routing_key.length !== 32) {
        return invalid("Length of 'routing_key' is incorrect (should be 32 characters)")
      }
      if (routing_key !== pagerdutyKey) return invalid("Invalid routing key")
      if (event_action !== "trigger") return invalid("'event_action' is invalid")
      const missing = ["summary", "severity", "source"].filter((key) => typeof payload?.[key] !== "string")
      if (missing.length > 0) return invalid(...missing.map((key) => `'payload.${key}' is missing or blank`))
      if (payload.summary.length > 1024) return invalid("'payload.summary' is too long (maximum is 1024 characters)")
      if (!["critical", "error", "warning", "info"].includes(payload.severity)) {
        return invalid("'payload.severity' is invalid (must be one of the following: critical, warning, error or info)")
      }
      incidents.set(typeof dedup_key === "string" ? dedup_key : `generated-${incidents.size}`, payload.severity)
      return null
    },
    success: () => Response.json({ status: "success", message: "Event processed" }, { status: 202 }),
  })
  return { ...fake, incidents }
}

if (import.meta.main) await runByHand(startPagerduty)
