/** Targets: the places where agents install certificates. */
import { jobsTable } from "../parts/activity"
import { badge } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import type { FormSection } from "../parts/fields"
import type { Option } from "../parts/form"
import { type Frame, layout, mayWork } from "../parts/layout"
import { expiryCell } from "../parts/lifetime"
import { breakable, html, type Markup } from "../parts/markup"
import { empty, facts, panel } from "../parts/panel"
import { type Column, dataTable } from "../parts/table"
import { timeAgo } from "../parts/time"
import { configFacts, type TestState, testCell, testProblem } from "./connectors.page"
import { type ListProps, resourceListPage, rowActions } from "./resource-list.page"
import type { JobRow, Named } from "./views"

export interface TargetRow extends Named {
  readonly typeLabel: string
  readonly agent: Named
  /** `Enabled`, `Disabled` or `Retired`. */
  readonly status: "Enabled" | "Disabled" | "Retired"
  readonly test: TestState
  /** One line each; empty: deployments may begin at any time. */
  readonly windows: readonly string[]
  readonly certificates: number
  readonly createdAt: Date
}

interface MappedRow {
  readonly id: string
  readonly commonName: string
  readonly status: string
  readonly expiresAt: Date | null
}

export interface TargetProps {
  readonly frame: Frame
  readonly target: TargetRow & { readonly updatedAt: Date; readonly retiredReason: string | null }
  /** Secrets are masked. */
  readonly config: readonly (readonly [label: string, value: string])[]
  readonly mapped: readonly MappedRow[]
  readonly deployments: readonly JobRow[]
  readonly problem: string | null
  readonly deletion: Question
}

export const targetSections = (agents: readonly Option[], config: readonly FormSection[]): FormSection[] => [
  {
    title: "Target",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255, placeholder: "shop nginx" },
      {
        kind: "select",
        name: "agent_id",
        label: "Agent",
        required: true,
        options: agents,
        empty: "Choose an agent",
        hint: "The agent that installs certificates there.",
      },
      { kind: "tick", name: "enabled", label: "Enabled", hint: "Nothing is deployed to a disabled target." },
    ],
  },
  ...config,
  {
    title: "Deployment windows",
    fields: [
      {
        kind: "lines",
        name: "windows",
        label: "Deployments may begin",
        rows: 3,
        placeholder: "mon-fri 22:00-04:00",
        hint: "One window on each line: days and hours. Empty: at any time. Outside them deployments wait.",
      },
      {
        kind: "text",
        name: "time_zone",
        label: "Time zone",
        maxlength: 64,
        placeholder: "Europe/Berlin",
        hint: "Whose clocks the windows follow. Empty: UTC.",
      },
    ],
  },
]

const pathOf = ({ id }: Named): string => `/targets/${encodeURIComponent(id)}`

export const targetsPage = (props: ListProps<TargetRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Targets",
    icon: "target",
    noun: "target",
    nouns: "targets",
    searched: "Name, id, type, agent id",
    emptyText:
      "A target is a service that an agent gives certificates to: a web server's files, a proxy, a key store. Connect an agent first.",
    mayAdd: mayWork(frame),
    columns: [
      {
        head: "Target",
        className: "lead",
        cell: (row) =>
          html`<span class="stacked"><a href=${pathOf(row)} data-row-link>${row.name}</a><span class="sub">${row.typeLabel}</span></span>`,
      },
      {
        head: "Agent",
        className: "trim",
        cell: (row) => html`<a href=${`/agents/${row.agent.id}`}>${row.agent.name}</a>`,
      },
      { head: "State", cell: (row) => badge({ status: row.status }) },
      { head: "Connection", cell: (row) => testCell(row.test, frame.now) },
      {
        head: "Certificates",
        cell: (row) =>
          row.certificates === 0 ? html`<span class="muted">none</span>` : row.certificates.toLocaleString("en"),
      },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      {
        head: "Actions",
        quietHead: true,
        className: "actions",
        cell: (row) =>
          mayWork(frame) && row.status !== "Retired"
            ? rowActions(row.name, [
                { label: "Test", post: `${pathOf(row)}/test` },
                { label: "Edit", href: `${pathOf(row)}/edit` },
              ])
            : null,
      },
    ],
  })
}

const mappedColumns = (now: Date): Column<MappedRow>[] => [
  {
    head: "Certificate",
    className: "lead",
    cell: (row) => html`<a href=${`/certificates/${row.id}`} data-row-link>${breakable(row.commonName)}</a>`,
  },
  { head: "Status", cell: (row) => badge({ status: row.status }) },
  { head: "Expires", cell: (row) => expiryCell(row.expiresAt, now) },
]

const actions = (target: TargetRow, deletion: Question): Markup =>
  html`${
    target.status === "Retired"
      ? null
      : html`<form method="post" action=${`${pathOf(target)}/test`}><button class="button">Test connection</button></form>
          <form method="post" action=${`${pathOf(target)}/${target.status === "Enabled" ? "disable" : "enable"}`}><button class="button">${target.status === "Enabled" ? "Disable" : "Enable"}</button></form>`
  }${askLink(deletion, `${pathOf(target)}/delete`, { label: "Delete" })}${
    target.status === "Retired" ? null : html`<a class="button primary" href=${`${pathOf(target)}/edit`}>Edit</a>`
  }`

export const targetPage = (props: TargetProps): Markup => {
  const { frame, target, config, mapped, deployments, problem, deletion } = props
  return layout(
    frame,
    {
      title: target.name,
      subtitle: `${target.typeLabel} on ${target.agent.name}`,
      up: { label: "Targets", href: "/targets" },
      ...(mayWork(frame) ? { actions: actions(target, deletion) } : {}),
    },
    html`${testProblem(problem)}
    <div class="grid aside">
      <div class="main-column">
        ${panel(
          { title: "Certificates", flush: true },
          mapped.length === 0
            ? empty({
                icon: "certificate",
                title: "No certificate goes there",
                text: "Tick the target when a certificate is made, or map one to it over the API.",
              })
            : dataTable({
                caption: "Certificates of this target",
                columns: mappedColumns(frame.now),
                rows: mapped,
                rowId: (row) => row.id,
              }),
        )}
        ${panel(
          { title: "Deployments", flush: true },
          deployments.length === 0
            ? empty({
                icon: "job",
                title: "Nothing was deployed yet",
                text: "Each deployment leaves a job here, with what happened at each step.",
              })
            : jobsTable(deployments, frame.now, ["agent"]),
        )}
      </div>
      <div class="side-column">
        ${panel(
          { title: "Target" },
          facts([
            ["State", badge({ status: target.status })],
            ["Retired because", target.retiredReason],
            ["Connection", testCell(target.test, frame.now)],
            ["Agent", html`<a href=${`/agents/${target.agent.id}`}>${target.agent.name}</a>`],
            ["Type", target.typeLabel],
            ["Deployments begin", target.windows.length === 0 ? "at any time" : target.windows.join("; ")],
            ["Id", copyable(target.id, "id")],
            ["Created", timeAgo(target.createdAt, frame.now)],
            ["Changed", timeAgo(target.updatedAt, frame.now)],
          ]),
        )}
        ${panel({ title: "Configuration" }, configFacts(config))}
      </div>
    </div>${mayWork(frame) ? askDialog(deletion) : null}`,
  )
}
