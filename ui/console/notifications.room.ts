/** Notifications: the list by state, reading them, and sending those again that did not arrive. */
import { Hono } from "hono"
import { channels } from "../../src/connectors/notifiers/contract"
import { AppError } from "../../src/errors"
import { bodyOf, notificationTypes } from "../../src/notifications/message-tags"
import { mostRetries } from "../../src/notifications/notification.machine"
import { notificationFilter } from "../../src/notifications/notification.schema"
import type { NotificationService } from "../../src/notifications/notification.service"
import type { ApiEnv } from "../../src/server/operation"
import { confirmPage } from "../pages/confirm.page"
import { type NotificationRow, notificationsPage, requeueAllQuestion } from "../pages/notifications.page"
import { allow, type ConsoleDeps, formOf, frameOf, listOf, type PageContext, page, pageBefore, redirect } from "./room"

type Notification = Awaited<ReturnType<NotificationService["get"]>>

/** Sent again by one press; further ones by the next. */
const mostAtOnce = 200

/** "ExpirationWarning" as "Expiration warning". */
const typeWords = (type: string): string => type.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

const types = notificationTypes.map((type) => ({ value: type, label: typeWords(type) }))
const channelOptions = channels.map((channel) => ({ value: channel, label: channel }))

export const notificationsRoom = (deps: ConsoleDeps) => {
  const { notifications, inventory } = deps

  const rowsOf = async (rows: readonly Notification[]): Promise<NotificationRow[]> => {
    const { certificates } = await inventory.subjectsOf(
      rows.map(({ certificateId }) => ({ certificateId, targetId: null, agentId: null })),
    )
    return rows.map((row) => ({
      id: row.id,
      type: typeWords(row.type),
      status: row.status,
      certificate: row.certificateId === null ? null : (certificates.get(row.certificateId) ?? null),
      channel: row.channel,
      recipient: row.recipient,
      message: bodyOf(row.message),
      retryCount: row.retryCount,
      // While a row is pending the column says until when somebody is delivering it.
      nextRetryAt: row.status === "failed" ? row.nextRetryAt : null,
      error: row.lastError ?? row.error,
      createdAt: row.createdAt,
      sentAt: row.sentAt,
    }))
  }

  const back = async (c: PageContext): Promise<string> =>
    pageBefore(c, (await formOf(c)).text("back"), "/notifications")

  return new Hono<ApiEnv>()
    .get("/notifications", async (c) => {
      const { state, page: number, pageSize, range } = listOf(c)
      const { status, type, channel, certificate_id, q } = state.params
      const [frame, { rows, total }] = await Promise.all([
        frameOf(deps, c),
        notifications.list(
          notificationFilter({ status, type, channel, certificate_id, q, page: 1, per_page: 1 }),
          range,
        ),
      ])
      return page(
        c,
        notificationsPage({
          frame,
          state,
          paging: { page: number, pageSize, total },
          rows: await rowsOf(rows),
          types,
          channels: channelOptions,
          mostRetries,
        }),
      )
    })
    .get("/notifications/requeue-dead", async (c) => {
      allow(c, "operator")
      const frame = await frameOf(deps, c)
      const question = requeueAllQuestion(frame.counts.deadNotifications, mostAtOnce)
      return page(c, confirmPage(frame, question, { label: "Dead letter", href: "/notifications?status=dead" }))
    })
    .post("/notifications/requeue-dead", async (c) => {
      allow(c, "operator")
      const { rows } = await notifications.list({ status: "dead" }, { limit: mostAtOnce, offset: 0 })
      for (const { id } of rows) {
        try {
          await notifications.requeue(id, c.get("actor"))
        } catch (error) {
          // It went together with its certificate since the list was read.
          if (!(error instanceof AppError) || error.code !== "not_found") throw error
        }
      }
      return redirect(c, "/notifications?status=dead", { key: "notifications-requeued" })
    })
    .post("/notifications/:id/read", async (c) => {
      allow(c, "operator")
      await notifications.markRead(c.req.param("id"), c.get("actor"))
      return redirect(c, await back(c), { key: "notification-read" })
    })
    .post("/notifications/:id/requeue", async (c) => {
      allow(c, "operator")
      await notifications.requeue(c.req.param("id"), c.get("actor"))
      return redirect(c, await back(c), { key: "notification-requeued" })
    })
}
