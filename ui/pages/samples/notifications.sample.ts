/** Notifications by state. */
import { confirmPage } from "../confirm.page"
import { type NotificationRow, notificationsPage, requeueAllQuestion } from "../notifications.page"
import {
  ago,
  ahead,
  at,
  DAY,
  list,
  MINUTE,
  noCounts,
  noRows,
  option,
  paging,
  type Samples,
  viewer,
} from "./frame.sample"

const row = (id: string, changes: Partial<NotificationRow> = {}): NotificationRow => ({
  id,
  type: "Expiration warning",
  status: "sent",
  certificate: { id: "mc-api", commonName: "api.example.com" },
  channel: "Email",
  recipient: "ada@example.com",
  message: "api.example.com expires in 14 days, on 26 March 2026.\nIt renews itself on 18 March.",
  retryCount: 0,
  nextRetryAt: null,
  error: null,
  createdAt: ago(14 * MINUTE),
  sentAt: ago(12 * MINUTE),
  ...changes,
})

const rows = [
  row("n-1"),
  row("n-2", {
    type: "Renewal failure",
    status: "dead",
    channel: "Webhook",
    recipient: "Webhook",
    retryCount: 5,
    sentAt: null,
    error:
      "https://hooks.example.com/services/T0000/B0000/a-rather-long-path answered 503 Service Unavailable: upstream connect error or disconnect/reset before headers",
  }),
  row("n-3", {
    type: "Policy violation",
    status: "failed",
    channel: "Slack",
    recipient: "Slack",
    retryCount: 2,
    nextRetryAt: ahead(0.002),
    sentAt: null,
    error: "timeout",
  }),
  row("n-4", { type: "Revocation", status: "pending", certificate: null, sentAt: null }),
  row("n-5", { status: "read", createdAt: ago(9 * DAY), sentAt: ago(9 * DAY) }),
]
const choices = { types: [option("Revocation", "Revocation")], channels: [option("Email", "Email")], mostRetries: 5 }

export const notificationSamples: Samples = {
  notifications: () =>
    notificationsPage({ frame: at("/notifications"), state: list("/notifications"), paging, rows, ...choices }),
  "notifications-dead-viewer": () =>
    notificationsPage({
      frame: at("/notifications?status=dead", viewer),
      state: list("/notifications?status=dead"),
      paging: { page: 1, pageSize: 50, total: 1 },
      rows: rows.slice(1, 2),
      ...choices,
    }),
  "notifications-none-dead": () =>
    notificationsPage({
      frame: at("/notifications?status=dead", { counts: noCounts }),
      state: list("/notifications?status=dead"),
      paging: noRows,
      rows: [],
      ...choices,
    }),
  "notifications-empty": () =>
    notificationsPage({
      frame: at("/notifications"),
      state: list("/notifications"),
      paging: noRows,
      rows: [],
      ...choices,
    }),
  "notifications-requeue": () =>
    confirmPage(at("/notifications/requeue-dead"), requeueAllQuestion(512, 200), {
      label: "Dead letter",
      href: "/notifications?status=dead",
    }),
}
