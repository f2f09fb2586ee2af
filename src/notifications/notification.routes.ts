/** Routes under /api/v1/notifications. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { pagedAnswer, sliceOf } from "../server/paging"
import { IdParam } from "../server/resource.schema"
import {
  NotificationAnswer,
  NotificationListAnswer,
  NotificationQuery,
  notificationAnswer,
  notificationFilter,
} from "./notification.schema"
import type { NotificationService } from "./notification.service"

const statusAnswer = <const S extends string>(status: S) => v.object({ status: v.literal(status) })

export const notificationRoutes = (notifications: NotificationService) =>
  new Hono<ApiEnv>()
    .get(
      "/",
      operation({
        id: "list_notifications",
        summary: "List notifications",
        role: "viewer",
        returns: NotificationListAnswer,
      }),
      input("query", NotificationQuery),
      async (c) => {
        const query = c.req.valid("query")
        const found = await notifications.list(notificationFilter(query), sliceOf(query))
        return c.json(pagedAnswer(query, found, notificationAnswer))
      },
    )
    .get(
      "/:id",
      operation({
        id: "get_notification",
        summary: "Show a notification",
        role: "viewer",
        returns: NotificationAnswer,
      }),
      input("param", IdParam),
      async (c) => c.json(notificationAnswer(await notifications.get(c.req.valid("param").id))),
    )
    .post(
      "/:id/read",
      operation({
        id: "mark_notification_read",
        summary: "Mark a notification as read",
        role: "operator",
        returns: statusAnswer("marked_as_read"),
      }),
      input("param", IdParam),
      async (c) => {
        await notifications.markRead(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "marked_as_read" as const })
      },
    )
    .post(
      "/:id/requeue",
      operation({
        id: "requeue_notification",
        summary: "Send a notification again",
        role: "operator",
        returns: statusAnswer("requeued"),
      }),
      input("param", IdParam),
      async (c) => {
        await notifications.requeue(c.req.valid("param").id, c.get("actor"))
        return c.json({ status: "requeued" as const })
      },
    )
