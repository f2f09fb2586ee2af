/** Teams and owners: who answers for certificates. */
import type { FormSection } from "../parts/fields"
import type { Option } from "../parts/form"
import { type Frame, mayWork } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import type { Column } from "../parts/table"
import { timeAgo } from "../parts/time"
import { countLink, type ListProps, resourceListPage, rowActions } from "./resource-list.page"
import type { Named } from "./views"

export interface TeamRow extends Named {
  readonly description: string
  readonly owners: number
  readonly certificates: number
  readonly createdAt: Date
}

export interface OwnerRow extends Named {
  readonly email: string
  readonly team: Named | null
  readonly certificates: number
  readonly createdAt: Date
}

export const teamSections: readonly FormSection[] = [
  {
    title: "Team",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255, placeholder: "Platform" },
      { kind: "lines", name: "description", label: "Description", prose: true },
    ],
  },
]

export const ownerSections = (teams: readonly Option[]): FormSection[] => [
  {
    title: "Owner",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255, placeholder: "Ada Lovelace" },
      {
        kind: "text",
        name: "email",
        label: "Mail address",
        type: "email",
        maxlength: 255,
        placeholder: "ada@example.com",
        hint: "Alerts about the owner's certificates go there. Without it nobody gets them by mail.",
      },
      { kind: "select", name: "team_id", label: "Team", options: teams, empty: "None" },
    ],
  },
]

/** The name, a way to its form for those who may change it, and a line below. */
export const namedCell = (frame: Frame, path: string, row: Named, below: string): Markup =>
  html`<span class="stacked">${
    mayWork(frame)
      ? html`<a href=${`${path}/${encodeURIComponent(row.id)}/edit`} data-row-link>${row.name}</a>`
      : html`<span>${row.name}</span>`
  }${below === "" ? null : html`<span class="sub" title=${below}>${below}</span>`}</span>`

/** Edit and delete, for those who may. */
export const changeActions = <Row extends Named>(frame: Frame, path: string): Column<Row> => ({
  head: "Actions",
  quietHead: true,
  className: "actions",
  cell: (row) =>
    mayWork(frame)
      ? rowActions(row.name, [
          { label: "Edit", href: `${path}/${encodeURIComponent(row.id)}/edit` },
          { label: "Delete", href: `${path}/${encodeURIComponent(row.id)}/delete` },
        ])
      : null,
})

export const teamsPage = (props: ListProps<TeamRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Teams",
    icon: "team",
    noun: "team",
    nouns: "teams",
    searched: "Name, id, description",
    emptyText: "A team answers for certificates together with their owners. Every certificate has one.",
    mayAdd: mayWork(frame),
    columns: [
      { head: "Team", className: "lead", cell: (row) => namedCell(frame, "/teams", row, row.description) },
      {
        head: "Owners",
        cell: (row) => (row.owners === 0 ? html`<span class="muted">none</span>` : row.owners.toLocaleString("en")),
      },
      {
        head: "Certificates",
        cell: (row) =>
          countLink(
            row.certificates,
            `/certificates?${new URLSearchParams({ team_id: row.id })}`,
            `certificates of ${row.name}`,
          ),
      },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      changeActions(frame, "/teams"),
    ],
  })
}

export const ownersPage = (props: ListProps<OwnerRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Owners",
    icon: "owner",
    noun: "owner",
    nouns: "owners",
    searched: "Name, id, mail address",
    emptyText: "An owner is the person who hears of a certificate: when it expires, fails to renew or is revoked.",
    mayAdd: mayWork(frame),
    columns: [
      { head: "Owner", className: "lead", cell: (row) => namedCell(frame, "/owners", row, "") },
      {
        head: "Mail address",
        className: "trim minor",
        cell: (row) =>
          row.email === ""
            ? html`<span class="muted">none: no mail</span>`
            : html`<a href=${`mailto:${row.email}`}>${row.email}</a>`,
      },
      { head: "Team", className: "trim", cell: (row) => row.team?.name ?? html`<span class="muted">none</span>` },
      {
        head: "Certificates",
        cell: (row) =>
          countLink(
            row.certificates,
            `/certificates?${new URLSearchParams({ owner_id: row.id })}`,
            `certificates of ${row.name}`,
          ),
      },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      changeActions(frame, "/owners"),
    ],
  })
}
