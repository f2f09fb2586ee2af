/** Counts what became of expiry alerts. In memory: a server that starts begins at 0, which is what counters may do. */
import { Counter, type Registry } from "prom-client"
import { channels } from "../connectors/notifiers/contract"
import { thresholdOf } from "./message-tags"
import type { NotificationRow } from "./notification.store"

/** `deduped`: crossed, and said before. */
type AlertResult = "success" | "failure" | "deduped"

export const alertMetrics = (registry: Registry) => {
  const counter = new Counter({
    name: "certctl_expiry_alerts_total",
    help: "Expiry alerts delivered, deliveries that failed, and crossed thresholds that had been alerted for before",
    labelNames: ["channel", "threshold", "result"],
    registers: [registry],
  })
  const seen = new Set<string>()
  const count = (channel: string, threshold: number, result: AlertResult): void => {
    // All results from the first on: a rate over a series that appears later misses its first event.
    if (!seen.has(`${channel} ${threshold}`)) start(channel, threshold)
    counter.inc({ channel, threshold, result })
  }
  const start = (channel: string, threshold: number): void => {
    seen.add(`${channel} ${threshold}`)
    for (const result of ["success", "failure", "deduped"]) counter.inc({ channel, threshold, result }, 0)
  }
  // The thresholds that every policy has unless it says otherwise.
  for (const channel of channels) for (const threshold of [30, 14, 7, 0]) start(channel, threshold)

  return {
    /** A delivery has ended one way or the other; of other news than expiry nothing is counted. */
    delivered(
      { type, channel, message }: Pick<NotificationRow, "type" | "channel" | "message">,
      isDelivered: boolean,
    ): void {
      const threshold = type === "ExpirationWarning" ? thresholdOf(message) : null
      if (threshold !== null) count(channel, threshold, isDelivered ? "success" : "failure")
    },
    deduped: (channel: string, threshold: number): void => count(channel, threshold, "deduped"),
  }
}
