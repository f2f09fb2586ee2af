/** The states of a notification and every move between them. What is not listed is illegal. */
import type { NotificationRow } from "./notification.store"

export type NotificationStatus = NotificationRow["status"]

const moves: Readonly<Record<NotificationStatus, readonly NotificationStatus[]>> = {
  pending: ["sent", "failed", "read"],
  // pending: somebody had it sent again from the start.
  failed: ["sent", "dead", "pending", "read"],
  sent: ["pending", "read"],
  dead: ["pending", "read"],
  read: ["pending"],
}

export const canMove = (from: NotificationStatus, to: NotificationStatus): boolean => moves[from].includes(to)

/** Retries after the first delivery. */
export const mostRetries = 5

const minuteMs = 60_000
const hourMs = 60 * minuteMs

/** What a failed delivery makes of a row. */
export const afterFailure = (
  row: Pick<NotificationRow, "status" | "retryCount">,
  lastError: string,
  now: Date,
  retryAfterSeconds: number | null,
): Partial<NotificationRow> => {
  const failed = { lastError, error: lastError }
  // What the channel asked for counts where it is longer than our own pause.
  const at = (ms: number) => new Date(now.getTime() + Math.max(ms, (retryAfterSeconds ?? 0) * 1000))
  if (row.status === "pending") return { ...failed, status: "failed", retryCount: 0, nextRetryAt: at(minuteMs) }
  if (row.retryCount >= mostRetries - 1) return { ...failed, status: "dead", nextRetryAt: null }
  const pauseMs = Math.min(2 ** row.retryCount * minuteMs, hourMs)
  return { ...failed, retryCount: row.retryCount + 1, nextRetryAt: at(pauseMs) }
}
