/** Opsgenie, by its Alert API v2. The API answers 202: alerts are made afterwards, in the background. */
import * as v from "valibot"
import { field, secret } from "../config"
import { defineNotifier, type PerSeverity, shortened } from "./contract"
import { askReachable, postJson } from "./delivery.request"

const priorities = ["P1", "P2", "P3", "P4", "P5"] as const
const bySeverity: PerSeverity<(typeof priorities)[number]> = { critical: "P1", high: "P2", warning: "P3", info: "P5" }
/** What the API takes. */
const longestMessage = 130
const longestDescription = 15_000

export const opsgenie = defineNotifier({
  type: "OpsGenie",
  label: "Opsgenie",
  config: v.object({
    api_key: secret("API key", "Key of an API integration with the right to create alerts"),
    priority: field(
      v.optional(v.picklist(priorities, "must be one of P1 to P5"), "P3"),
      "Priority",
      "Used for what has no urgency of its own",
    ),
    api_url: field(
      v.optional(v.pipe(v.string(), v.url("must be a URL")), "https://api.opsgenie.com"),
      "API address",
      "For accounts in the EU: https://api.eu.opsgenie.com",
    ),
  }),
  example: { api_key: "00000000-0000-0000-0000-000000000000", priority: "P2" },
  timeoutMs: 10_000,
  connect({ api_key, priority, api_url }, { fetch, clock, timeoutMs }) {
    const secrets = [api_key]
    const url = `${api_url.replace(/\/+$/, "")}/v2/alerts`
    return {
      send: ({ id, kind, type, severity, subject, body }) =>
        postJson(fetch, {
          url,
          headers: { authorization: `GenieKey ${api_key}` },
          body: {
            message: shortened(subject, longestMessage),
            description: shortened(body, longestDescription),
            priority: kind === "alert" ? bySeverity[severity] : priority,
            source: "certctl",
            tags: ["certctl", type],
            // An open alert with the same alias is counted up instead of made again.
            alias: id,
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
