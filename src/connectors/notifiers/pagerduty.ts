/** PagerDuty, by its Events API v2. Every alert triggers; resolving is for people. */
import * as v from "valibot"
import { field, secret } from "../config"
import { defineNotifier, type PerSeverity, shortened } from "./contract"
import { askReachable, postJson } from "./delivery.request"

const words = ["critical", "error", "warning", "info"] as const
const bySeverity: PerSeverity<(typeof words)[number]> = {
  critical: "critical",
  high: "error",
  warning: "warning",
  info: "info",
}
/** What the API takes. */
const longestSummary = 1024

export const pagerduty = defineNotifier({
  type: "PagerDuty",
  label: "PagerDuty",
  config: v.object({
    routing_key: secret("Routing key", "Integration key of an Events API v2 integration"),
    severity: field(
      v.optional(v.picklist(words, `must be one of ${words.join(", ")}`), "warning"),
      "Severity",
      "Used for what has no urgency of its own",
    ),
    api_url: field(
      v.optional(v.pipe(v.string(), v.url("must be a URL")), "https://events.pagerduty.com"),
      "API address",
      "For the EU service region: https://events.eu.pagerduty.com",
    ),
  }),
  example: { routing_key: "0123456789abcdef0123456789abcdef" },
  timeoutMs: 10_000,
  connect({ routing_key, severity, api_url }, { fetch, clock, timeoutMs }) {
    const secrets = [routing_key]
    const url = `${api_url.replace(/\/+$/, "")}/v2/enqueue`
    return {
      send: ({ id, kind, severity: urgency, subject, body, recipient }) =>
        postJson(fetch, {
          url,
          body: {
            routing_key,
            event_action: "trigger",
            // A second delivery of the same notice joins the incident of the first.
            dedup_key: id,
            payload: {
              summary: shortened(subject, longestSummary),
              severity: kind === "alert" ? bySeverity[urgency] : severity,
              source: "certctl",
              custom_details: { body, recipient },
            },
          },
          accepted: [200, 202],
          timeoutMs,
          secrets,
          now: clock.now(),
        }),
      testConnection: () => askReachable(fetch, { url, timeoutMs, secrets }),
    }
  },
})
