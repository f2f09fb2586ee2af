/** What certctl told people, or tried to: by state, with why it did not arrive and when it is tried again. */
import { badge } from "../parts/badge"
import type { Question } from "../parts/confirm"
import { filterBar } from "../parts/filter-bar"
import type { Option } from "../parts/form"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import { isFiltered, type ListState, linkTo, type Paging } from "../parts/list-state"
import { html, type Markup } from "../parts/markup"
import { empty, tabs } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { timeAgo } from "../parts/time"

export type NotificationState = "pending" | "sent" | "failed" | "dead" | "read"

export interface NotificationRow {
  readonly id: string
  readonly type: string
  readonly status: NotificationState
  readonly certificate: { readonly id: string; readonly commonName: string } | null
  readonly channel: string
  readonly recipient: string
  readonly message: string
  readonly retryCount: number
  readonly nextRetryAt: Date | null
  /** Why it did not arrive, or why it was not sent at all. */
  readonly error: string | null
  readonly createdAt: Date
  readonly sentAt: Date | null
}

export interface NotificationsProps {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly rows: readonly NotificationRow[]
  readonly types: readonly Option[]
  readonly channels: readonly Option[]
  /** Retries after the first delivery. */
  readonly mostRetries: number
}

const statusTabs: readonly { readonly status: NotificationState | null; readonly label: string }[] = [
  { status: null, label: "All" },
  { status: "pending", label: "Waiting" },
  { status: "sent", label: "Sent" },
  { status: "failed", label: "Retrying" },
  { status: "dead", label: "Dead letter" },
  { status: "read", label: "Read" },
]

export const requeueAllQuestion = (count: number, most: number): Question => ({
  id: "ask-requeue-all",
  title: "Send all dead notifications again?",
  text: html`<p>${count <= most ? `${count} ${count === 1 ? "notification is" : "notifications are"} tried again from the start.` : `${most} of ${count} notifications are tried again from the start, the newest first.`} Make sure that what kept them from arriving is mended.</p>`,
  action: "/notifications/requeue-dead",
  confirmLabel: "Send again",
  danger: false,
})

const aboutCell = (row: NotificationRow): Markup =>
  html`<span class="stacked"><span class="message-words">${row.message}</span>${
    row.certificate === null
      ? null
      : html`<span class="sub">about <a href=${`/certificates/${row.certificate.id}`}>${row.certificate.commonName}</a></span>`
  }${row.error === null ? null : html`<span class=${row.status === "dead" || row.status === "failed" ? "sub alarm message-words" : "sub message-words"}>${row.error}</span>`}</span>`

const stateCell = (row: NotificationRow, mostRetries: number, now: Date): Markup => {
  const retries = `${row.retryCount} of ${mostRetries} retries`
  const below =
    row.status === "failed"
      ? html`next try ${timeAgo(row.nextRetryAt, now, "not planned")}<br />after ${retries}`
      : row.status === "dead"
        ? html`after ${retries}`
        : row.sentAt === null
          ? null
          : html`sent ${timeAgo(row.sentAt, now)}`
  return html`<span class="stacked">${badge({ status: row.status === "pending" || row.status === "failed" ? `notification-${row.status}` : row.status })}${below === null ? null : html`<span class="sub">${below}</span>`}</span>`
}

const actionsCell = (frame: Frame, row: NotificationRow): Markup => {
  if (!mayWork(frame)) return null
  const about = `${row.type} ${row.certificate?.commonName ?? row.id}`
  const post = (verb: string, label: string, look: string) =>
    html`<form method="post" action=${`/notifications/${row.id}/${verb}`}><input type="hidden" name="back" value=${frame.url} /><button class=${`button small ${look}`} aria-label=${`${label}: ${about}`}>${label}</button></form>`
  const canRequeue = row.status === "dead" || row.status === "failed"
  const canRead = row.status === "sent" || row.status === "dead"
  if (!canRequeue && !canRead) return null
  return html`<span class="row-actions">${canRequeue ? post("requeue", "Send again", row.status === "dead" ? "primary" : "") : null}${canRead ? post("read", "Mark read", "quiet") : null}</span>`
}

const columns = ({ frame, mostRetries }: NotificationsProps): Column<NotificationRow>[] => [
  {
    head: "Type",
    className: "lead",
    cell: (row) =>
      html`<span class="stacked"><span>${row.type}</span><span class="sub">${timeAgo(row.createdAt, frame.now)}</span></span>`,
  },
  { head: "Message", className: "prose", cell: aboutCell },
  {
    head: "To",
    className: "trim",
    cell: (row) =>
      html`<span class="stacked"><span>${row.channel}</span>${row.recipient === row.channel ? null : html`<span class="sub" title=${row.recipient}>${row.recipient}</span>`}</span>`,
  },
  { head: "State", cell: (row) => stateCell(row, mostRetries, frame.now) },
  { head: "Actions", quietHead: true, className: "actions", cell: (row) => actionsCell(frame, row) },
]

const nothing = (state: ListState): Markup =>
  state.params.status === "dead"
    ? empty({
        icon: "check",
        title: "Nothing was given up",
        text: "A notification that could not be delivered after every retry would be listed here, with the reason.",
      })
    : isFiltered(state)
      ? empty({
          icon: "filter",
          title: "No notification matches",
          text: "Nothing fits these filters.",
          action: html`<a class="button" href=${state.path}>Clear filters</a>`,
        })
      : empty({
          icon: "notification",
          title: "No notifications yet",
          text: "Expiry alerts, failures, policy violations and revocations are told to the owners of certificates and to the channels that the server's settings name. Each message leaves a line here.",
        })

export const notificationsPage = (props: NotificationsProps): Markup => {
  const { frame, state, paging, rows, types, channels } = props
  const dead = frame.counts.deadNotifications
  const current = state.params.status ?? null
  return layout(
    frame,
    {
      title: "Notifications",
      subtitle: `${paging.total.toLocaleString("en")} ${isFiltered(state) ? "match" : "on record"}`,
      live: { intervalSeconds: 30 },
      ...(mayWork(frame) && current === "dead" && rows.length > 0
        ? { actions: html`<a class="button" href="/notifications/requeue-dead">Send all again</a>` }
        : {}),
    },
    html`
      ${tabs(
        "Notifications by state",
        statusTabs.map(({ status, label }) => ({
          label,
          href: linkTo(state, { status }),
          current: current === status,
          ...(status === "dead" && dead > 0 ? { count: dead } : {}),
        })),
      )}
      ${filterBar(state, {
        search: { name: "q", label: "Search", placeholder: "Message, recipient, certificate id" },
        selects: [
          { name: "type", label: "Type", options: types },
          { name: "channel", label: "Channel", options: channels },
        ],
        kept: ["status", "certificate_id"],
      })}
      ${live(
        "list",
        html`<div class="panel flush list">${
          rows.length === 0
            ? nothing(state)
            : html`${dataTable({ caption: "Notifications", columns: columns(props), rows, rowId: (row) => row.id, state })}${pager(state, paging)}`
        }</div>`,
      )}`,
  )
}
