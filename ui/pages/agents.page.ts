/** The agent list: who reports, who went silent and what hangs on it. */
import { badge } from "../parts/badge"
import { icon } from "../parts/icon"
import { type Frame, layout, live, mayWork } from "../parts/layout"
import type { ListState, Paging } from "../parts/list-state"
import { html, type Markup } from "../parts/markup"
import { empty, tabs } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { dateText, timeAgo } from "../parts/time"
import type { AgentHealth } from "./views"

export interface AgentRow {
  readonly id: string
  readonly name: string
  readonly hostname: string
  readonly health: AgentHealth
  readonly os: string
  readonly architecture: string
  readonly ipAddress: string
  readonly version: string
  readonly lastHeartbeatAt: Date | null
  readonly builtIn: boolean
  /** Certificates mapped to its targets, and when the first of them ends. */
  readonly certificateCount: number
  readonly firstExpiryAt: Date | null
  readonly retiredAt: Date | null
  readonly retiredReason: string | null
}

export interface AgentsProps {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly tab: "active" | "retired"
  readonly rows: readonly AgentRow[]
}

const lead: Column<AgentRow> = {
  head: "Agent",
  className: "lead",
  cell: (row) =>
    html`<span class="stacked"><span><a href=${`/agents/${row.id}`} data-row-link>${row.name}</a>${row.builtIn ? html` <span class="chip">built-in</span>` : null}</span><span class="sub">${row.hostname}</span></span>`,
}

const platform: Column<AgentRow> = {
  head: "Platform",
  className: "minor",
  cell: (row) =>
    [row.os, row.architecture].filter((part) => part !== "").join(" / ") || html`<span class="muted">unknown</span>`,
}

const dependsWords = (row: AgentRow, now: Date): Markup =>
  row.certificateCount === 0
    ? html`<span class="muted">none</span>`
    : html`<span class="stacked"><a href=${`/certificates?agent_id=${row.id}`}>${row.certificateCount}</a>${
        row.health === "Online" || row.firstExpiryAt === null
          ? null
          : html`<span class="sub alarm">first lapses ${dateText(row.firstExpiryAt, now)}</span>`
      }</span>`

const activeColumns = (now: Date): Column<AgentRow>[] => [
  lead,
  { head: "Health", cell: (row) => badge({ status: row.health }) },
  { head: "Last heartbeat", cell: (row) => timeAgo(row.lastHeartbeatAt, now) },
  { head: "Certificates", cell: (row) => dependsWords(row, now) },
  platform,
  {
    head: "Address",
    className: "minor",
    cell: (row) =>
      row.ipAddress === "" ? html`<span class="muted">unknown</span>` : html`<code>${row.ipAddress}</code>`,
  },
  { head: "Version", cell: (row) => row.version || html`<span class="muted">unknown</span>` },
]

const retiredColumns = (now: Date): Column<AgentRow>[] => [
  lead,
  platform,
  { head: "Retired", cell: (row) => timeAgo(row.retiredAt, now) },
  {
    head: "Reason",
    className: "wide",
    cell: (row) => row.retiredReason ?? html`<span class="muted">none given</span>`,
  },
]

export const agentsPage = ({ frame, state, paging, tab, rows }: AgentsProps): Markup => {
  const join = mayWork(frame)
    ? html`<a class="button primary" href="/agents/join" data-new>${icon("plus")}Connect an agent</a>`
    : undefined
  return layout(
    frame,
    {
      title: "Agents",
      subtitle: `${paging.total.toLocaleString("en")} ${tab}`,
      live: { intervalSeconds: 15 },
      actions: join,
    },
    html`
      ${tabs("Agents", [
        { label: "Active", href: "/agents", current: tab === "active" },
        { label: "Retired", href: "/agents?tab=retired", current: tab === "retired" },
      ])}
      ${live(
        "list",
        html`<div class="panel flush list">${
          rows.length === 0
            ? tab === "retired"
              ? empty({
                  icon: "agent",
                  title: "No retired agents",
                  text: "An agent taken out of service is listed here with the reason.",
                })
              : empty({
                  icon: "agent",
                  title: "No agents yet",
                  text: "An agent runs where TLS is served: it makes keys there, installs certificates and proves what is served.",
                  action: join,
                })
            : html`${dataTable({ caption: "Agents", columns: tab === "active" ? activeColumns(frame.now) : retiredColumns(frame.now), rows, rowId: (row) => row.id, state })}${pager(state, paging)}`
        }</div>`,
      )}`,
  )
}
