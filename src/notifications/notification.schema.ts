/** Notifications on the wire. */
import * as v from "valibot"
import { channels } from "../connectors/notifiers/contract"
import { listParams, pagedListOf } from "../server/paging"
import { optionalTime, requiredTime, WireTime, withoutAbsent } from "../server/wire"
import { bodyOf, notificationTypes } from "./message-tags"
import type { NotificationFilter, NotificationRow } from "./notification.store"

export const NotificationQuery = v.object({
  status: v.optional(v.string()),
  type: v.optional(v.string()),
  channel: v.optional(v.string()),
  certificate_id: v.optional(v.string()),
  ...listParams(["id", "certificate_id", "recipient", "message"]),
})

/** An empty value counts as absent. */
export const notificationFilter = (query: v.InferOutput<typeof NotificationQuery>): NotificationFilter => ({
  status: query.status || undefined,
  type: query.type || undefined,
  channel: query.channel || undefined,
  certificateId: query.certificate_id || undefined,
  search: query.q,
})

export const NotificationAnswer = v.pipe(
  v.object({
    id: v.string(),
    type: v.picklist(notificationTypes),
    certificate_id: v.optional(v.string()),
    channel: v.picklist(channels),
    recipient: v.string(),
    message: v.string(),
    sent_at: v.optional(WireTime),
    status: v.picklist(["pending", "sent", "failed", "dead", "read"]),
    error: v.optional(v.string()),
    retry_count: v.number(),
    next_retry_at: v.optional(WireTime),
    last_error: v.optional(v.string()),
    created_at: WireTime,
  }),
  v.metadata({ ref: "Notification" }),
)

export const NotificationListAnswer = pagedListOf(NotificationAnswer)

export const notificationAnswer = (row: NotificationRow) =>
  withoutAbsent({
    id: row.id,
    type: row.type as (typeof notificationTypes)[number],
    certificate_id: row.certificateId,
    channel: row.channel as (typeof channels)[number],
    recipient: row.recipient,
    message: bodyOf(row.message),
    sent_at: optionalTime(row.sentAt),
    status: row.status,
    error: row.error,
    retry_count: row.retryCount,
    // While a row is pending the column says until when somebody is delivering it.
    next_retry_at: row.status === "failed" ? optionalTime(row.nextRetryAt) : undefined,
    last_error: row.lastError,
    created_at: requiredTime(row.createdAt),
  })
