/** The audit trail: who did what to what, and when. */
import { actionWords, resourceLink } from "../parts/activity"
import { filterBar } from "../parts/filter-bar"
import { icon } from "../parts/icon"
import { type Frame, layout, live } from "../parts/layout"
import { isFiltered, type ListState, linkTo, type Paging } from "../parts/list-state"
import { classes, html, type Markup } from "../parts/markup"
import { empty, tabs } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { absoluteText, timeAgo } from "../parts/time"
import type { AuditRow } from "./views"

export interface AuditProps {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly rows: readonly AuditRow[]
}

const ranges = [
  { range: null, label: "All time" },
  { range: "1h", label: "1 h" },
  { range: "24h", label: "24 h" },
  { range: "7d", label: "7 days" },
  { range: "30d", label: "30 days" },
]

const resourceTypes = [
  "certificate",
  "job",
  "approval",
  "agent",
  "issuer",
  "target",
  "owner",
  "team",
  "profile",
  "policy",
  "renewal_policy",
  "api_key",
  "api",
].map((name) => ({
  value: name,
  label: actionWords(name),
}))

/** Colour by kind: what takes away is red, what failed is red, what makes is green. */
const actionKind = (action: string): string => {
  if (/fail|delete|revoke|retire|reject|timeout|archive/.test(action)) return "kind-bad"
  if (/create|register|issued|completed|success|approve/.test(action)) return "kind-good"
  return "kind-plain"
}

const detailsCell = ({ details }: AuditRow): Markup => {
  const text = JSON.stringify(details)
  if (text === undefined || text === "{}" || text === "null") return html`<span class="muted">–</span>`
  return html`<details class="json"><summary><code>${text.length > 34 ? `${text.slice(0, 34)}…` : text}</code></summary><pre>${JSON.stringify(details, null, 2)}</pre></details>`
}

const resourceCell = ({ resourceType, resourceId }: AuditRow): Markup => {
  const link = resourceLink(resourceType, resourceId)
  return html`<span class="stacked"><span>${actionWords(resourceType)}</span><span class="sub" title=${resourceId}>${link === null ? html`<code>${resourceId}</code>` : html`<a href=${link}><code>${resourceId}</code></a>`}</span></span>`
}

const columns = (now: Date): Column<AuditRow>[] => [
  {
    head: "Time",
    cell: (row) =>
      html`<span class="stacked">${timeAgo(row.at, now)}<span class="sub">${absoluteText(row.at)}</span></span>`,
  },
  {
    head: "Action",
    className: "lead",
    cell: (row) => html`<span class=${classes("kind", actionKind(row.action))}>${actionWords(row.action)}</span>`,
  },
  {
    head: "Actor",
    cell: (row) =>
      html`<span class="stacked"><span>${row.actor === "" ? "anonymous" : row.actor}</span><span class="sub">${row.actorType}</span></span>`,
  },
  { head: "Resource", className: "trim", cell: resourceCell },
  { head: "Details", className: "wide", cell: detailsCell },
]

const exportLink = (state: ListState, format: string): string =>
  linkTo({ ...state, path: `/audit/export.${format}` }, { page: null, page_size: null })

export const auditPage = ({ frame, state, paging, rows }: AuditProps): Markup => {
  const hidesCalls = state.params.hide_api === "true"
  return layout(
    frame,
    {
      title: "Audit trail",
      subtitle: `${paging.total.toLocaleString("en")} ${isFiltered(state) ? "match" : "events"}`,
      live: { intervalSeconds: 30 },
      actions: html`<a class="button" href=${linkTo(state, { hide_api: hidesCalls ? null : "true" })}>${hidesCalls ? "Show API calls" : "Hide API calls"}</a>
        <a class="button" href=${exportLink(state, "csv")} download>${icon("download")}CSV</a><a class="button" href=${exportLink(state, "json")} download>${icon("download")}JSON</a>`,
    },
    html`
      ${tabs(
        "Time range",
        ranges.map(({ range, label }) => ({
          label,
          href: linkTo(state, { range, from: null, to: null }),
          current: (state.params.range ?? null) === range && !state.params.from && !state.params.to,
        })),
      )}
      ${filterBar(state, {
        selects: [{ name: "resource_type", label: "Resource", options: resourceTypes }],
        texts: [
          { name: "actor", label: "Actor" },
          { name: "action", label: "Action" },
          { name: "resource_id", label: "Resource id" },
        ],
        dates: [
          { name: "from", label: "From" },
          { name: "to", label: "To" },
        ],
        kept: ["range", "hide_api"],
      })}
      ${live(
        "list",
        html`<div class="panel flush list">${
          rows.length === 0
            ? isFiltered(state)
              ? empty({
                  icon: "filter",
                  title: "No event matches",
                  text: "Nothing on record fits these filters.",
                  action: html`<a class="button" href=${state.path}>Clear filters</a>`,
                })
              : empty({
                  icon: "audit",
                  title: "Nothing recorded yet",
                  text: "Every change is recorded here together with who made it, and can be neither changed nor removed.",
                })
            : html`${dataTable({ caption: "Audit events", columns: columns(frame.now), rows, rowId: (row) => row.id, state })}${pager(state, paging)}`
        }</div>`,
      )}`,
  )
}
