/** Agent groups: the list, one with the agents that belong to it now. */
import { badge } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import type { FormSection } from "../parts/fields"
import { type Frame, layout, mayWork } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { empty, facts, panel } from "../parts/panel"
import { type Column, dataTable } from "../parts/table"
import { timeAgo } from "../parts/time"
import { type ListProps, resourceListPage } from "./resource-list.page"
import { changeActions } from "./teams.page"
import type { AgentHealth, Named } from "./views"

export interface AgentGroupRow extends Named {
  readonly description: string
  /** "OS linux", "in 10.0.0.0/8": all of them must hold. */
  readonly criteria: readonly string[]
  readonly enabled: boolean
  readonly members: number
  /** Renewal policies that restrict their certificates to the group. */
  readonly renewalPolicies: number
  readonly createdAt: Date
}

interface MemberRow extends Named {
  readonly hostname: string
  readonly health: AgentHealth
  readonly os: string
  readonly architecture: string
  readonly version: string
  readonly lastHeartbeatAt: Date | null
}

export interface AgentGroupProps {
  readonly frame: Frame
  readonly group: AgentGroupRow
  readonly members: readonly MemberRow[]
  readonly deletion: Question
}

export const agentGroupSections: readonly FormSection[] = [
  {
    title: "Group",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255, placeholder: "Edge, Europe" },
      { kind: "lines", name: "description", label: "Description", prose: true, rows: 2 },
    ],
  },
  {
    title: "Who belongs to it",
    fields: [
      [
        { kind: "text", name: "match_os", label: "Operating system", mono: true, maxlength: 100, placeholder: "linux" },
        {
          kind: "text",
          name: "match_architecture",
          label: "Architecture",
          mono: true,
          maxlength: 100,
          placeholder: "x64",
        },
      ],
      [
        {
          kind: "text",
          name: "match_ip_cidr",
          label: "Address or range",
          mono: true,
          maxlength: 45,
          placeholder: "10.0.0.0/8",
        },
        { kind: "text", name: "match_version", label: "Agent version", mono: true, maxlength: 50 },
      ],
      {
        kind: "tick",
        name: "enabled",
        label: "Enabled",
        hint: "An agent belongs to the group when everything that is filled in fits; with nothing filled in, none does by itself. A disabled group matches nobody.",
      },
    ],
  },
]

const criteria = ({ criteria: words }: AgentGroupRow): Markup =>
  words.length === 0
    ? html`<span class="muted">none</span>`
    : html`<ul class="chips">${words.map((word) => html`<li>${word}</li>`)}</ul>`

export const agentGroupsPage = (props: ListProps<AgentGroupRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Agent groups",
    icon: "group",
    noun: "agent group",
    nouns: "agent groups",
    searched: "Name, id, description",
    emptyText:
      "A group is a set of agents by platform, address or version. A renewal policy can be limited to one, so that only its agents serve the certificates.",
    mayAdd: mayWork(frame),
    columns: [
      {
        head: "Group",
        className: "lead",
        cell: (row) =>
          html`<span class="stacked"><a href=${`/agent-groups/${encodeURIComponent(row.id)}`} data-row-link>${row.name}</a>${row.description === "" ? null : html`<span class="sub" title=${row.description}>${row.description}</span>`}</span>`,
      },
      { head: "Criteria", cell: criteria },
      {
        head: "Members",
        cell: (row) => (row.members === 0 ? html`<span class="muted">none</span>` : row.members.toLocaleString("en")),
      },
      {
        head: "Renewal policies",
        className: "minor",
        cell: (row) => (row.renewalPolicies === 0 ? html`<span class="muted">none</span>` : row.renewalPolicies),
      },
      { head: "State", cell: (row) => badge({ status: row.enabled ? "Enabled" : "Disabled" }) },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      changeActions(frame, "/agent-groups"),
    ],
  })
}

const memberColumns = (now: Date): Column<MemberRow>[] => [
  {
    head: "Agent",
    className: "lead",
    cell: (row) =>
      html`<span class="stacked"><a href=${`/agents/${row.id}`} data-row-link>${row.name}</a><span class="sub">${row.hostname}</span></span>`,
  },
  { head: "Health", cell: (row) => badge({ status: row.health }) },
  { head: "Last heartbeat", cell: (row) => timeAgo(row.lastHeartbeatAt, now) },
  {
    head: "Platform",
    className: "minor",
    cell: (row) =>
      [row.os, row.architecture].filter((part) => part !== "").join(" / ") || html`<span class="muted">unknown</span>`,
  },
  { head: "Version", className: "minor", cell: (row) => row.version || html`<span class="muted">unknown</span>` },
]

export const agentGroupPage = ({ frame, group, members, deletion }: AgentGroupProps): Markup =>
  layout(
    frame,
    {
      title: group.name,
      ...(group.description === "" ? {} : { subtitle: group.description }),
      up: { label: "Agent groups", href: "/agent-groups" },
      ...(mayWork(frame)
        ? {
            actions: html`${askLink(deletion, `/agent-groups/${encodeURIComponent(group.id)}/delete`, { label: "Delete" })}
              <a class="button primary" href=${`/agent-groups/${encodeURIComponent(group.id)}/edit`}>Edit</a>`,
          }
        : {}),
    },
    html`<div class="grid aside">
      <div class="main-column">${panel(
        { title: "Members", flush: true },
        members.length === 0
          ? empty({
              icon: "agent",
              title: "No agent belongs to it",
              text: group.enabled
                ? "No agent fits all criteria. Certificates whose renewal policy asks for this group are served by nobody."
                : "The group is disabled: nobody belongs to it until it is enabled.",
            })
          : dataTable({ caption: "Members", columns: memberColumns(frame.now), rows: members, rowId: (row) => row.id }),
      )}</div>
      <div class="side-column">${panel(
        { title: "Group" },
        facts([
          ["State", badge({ status: group.enabled ? "Enabled" : "Disabled" })],
          ["Criteria", criteria(group)],
          [
            "Renewal policies",
            group.renewalPolicies === 0 ? "none limited to it" : `${group.renewalPolicies} limited to it`,
          ],
          ["Id", copyable(group.id, "id")],
          ["Created", timeAgo(group.createdAt, frame.now)],
        ]),
      )}</div>
    </div>${mayWork(frame) ? askDialog(deletion) : null}`,
  )
