/** Issuers: the CAs that certificates come from. */
import { badge } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import type { FormSection } from "../parts/fields"
import { type Frame, isAdmin, layout, mayWork } from "../parts/layout"
import { expiryCell } from "../parts/lifetime"
import { breakable, html, type Markup } from "../parts/markup"
import { empty, facts, panel } from "../parts/panel"
import { type Column, dataTable } from "../parts/table"
import { timeAgo } from "../parts/time"
import { configFacts, type TestState, testCell, testProblem } from "./connectors.page"
import { countLink, type ListProps, resourceListPage, rowActions } from "./resource-list.page"
import type { Named } from "./views"

export interface IssuerRow extends Named {
  readonly typeLabel: string
  readonly enabled: boolean
  readonly test: TestState
  readonly isFromEnvironment: boolean
  readonly certificates: number
  readonly createdAt: Date
}

interface IssuedRow {
  readonly id: string
  readonly commonName: string
  readonly status: string
  readonly expiresAt: Date | null
}

export interface RootRow {
  /** Key identifier, hex. */
  readonly ski: string
  readonly state: "active" | "former" | "retired"
  readonly notAfter: Date
  readonly createdAt: Date
}

export interface IssuerProps {
  readonly frame: Frame
  readonly issuer: IssuerRow & { readonly updatedAt: Date }
  /** Secrets are masked. */
  readonly config: readonly (readonly [label: string, value: string])[]
  /** Those that certctl keeps for it, newest first. */
  readonly roots: readonly RootRow[]
  /** The ones that expire first. */
  readonly issued: readonly IssuedRow[]
  readonly problem: string | null
  readonly deletion: Question
}

/** Issuers stay open to everybody while authentication is off: there is no administrator then. */
const mayAdminister = (frame: Frame): boolean => frame.actor === null || isAdmin(frame)

export const issuerSections = (config: readonly FormSection[]): FormSection[] => [
  {
    title: "Issuer",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255 },
      { kind: "tick", name: "enabled", label: "Enabled", hint: "A disabled issuer issues and renews nothing." },
    ],
  },
  ...config,
]

const pathOf = ({ id }: Named): string => `/issuers/${encodeURIComponent(id)}`
const certificatesPath = ({ id }: Named): string => `/certificates?${new URLSearchParams({ issuer_id: id })}`

export const issuersPage = (props: ListProps<IssuerRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Issuers",
    icon: "issuer",
    noun: "issuer",
    nouns: "issuers",
    searched: "Name, id, type",
    emptyText: "An issuer is a CA that certificates come from: the one inside certctl or another product's.",
    mayAdd: mayAdminister(frame),
    columns: [
      {
        head: "Issuer",
        className: "lead",
        cell: (row) =>
          html`<span class="stacked"><a href=${pathOf(row)} data-row-link>${row.name}</a><span class="sub">${row.typeLabel}${row.isFromEnvironment ? ", from the server's settings" : ""}</span></span>`,
      },
      { head: "State", cell: (row) => badge({ status: row.enabled ? "Enabled" : "Disabled" }) },
      { head: "Connection", cell: (row) => testCell(row.test, frame.now) },
      {
        head: "Certificates",
        cell: (row) => countLink(row.certificates, certificatesPath(row), `certificates of ${row.name}`),
      },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      {
        head: "Actions",
        quietHead: true,
        className: "actions",
        cell: (row) =>
          mayWork(frame)
            ? rowActions(row.name, [
                { label: "Test", post: `${pathOf(row)}/test` },
                ...(mayAdminister(frame) ? [{ label: "Edit", href: `${pathOf(row)}/edit` }] : []),
              ])
            : null,
      },
    ],
  })
}

const issuedColumns = (now: Date): Column<IssuedRow>[] => [
  {
    head: "Certificate",
    className: "lead",
    cell: (row) => html`<a href=${`/certificates/${row.id}`} data-row-link>${breakable(row.commonName)}</a>`,
  },
  { head: "Status", cell: (row) => badge({ status: row.status }) },
  { head: "Expires", cell: (row) => expiryCell(row.expiresAt, now) },
]

const rollOverPath = (issuer: Named): string => `${pathOf(issuer)}/roll-over`
const retireRootPath = (issuer: Named, ski: string): string =>
  `${pathOf(issuer)}/roots/${encodeURIComponent(ski)}/retire`

export const rollOverQuestion = (issuer: Named): Question => ({
  id: "ask-roll-over",
  title: `Roll over the root of ${issuer.name}?`,
  text: html`<p>A new root with a new key signs from now on. Certificates that the present root signed stay valid, and its revocation lists go on.</p><p>Clients that trust only the present root accept new certificates by the chain sent along, until that root expires or is retired. Give them the new root before then.</p>`,
  action: rollOverPath(issuer),
  confirmLabel: "Roll over",
  danger: false,
})

export const retireRootQuestion = (issuer: Named, ski: string): Question => ({
  id: `ask-retire-${ski}`,
  title: "Retire this former root?",
  text: html`<p>New certificates no longer bring the chain to it, so that clients which trust only this root refuse them. Certificates that it signed stay valid.</p>`,
  action: retireRootPath(issuer, ski),
  confirmLabel: "Retire root",
  danger: true,
})

const rootColumns = (frame: Frame, issuer: Named): Column<RootRow>[] => [
  { head: "Key", className: "lead", cell: (row) => copyable(row.ski, "key identifier") },
  { head: "State", cell: (row) => badge({ status: `root-${row.state}` }) },
  { head: "Made", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
  { head: "Expires", cell: (row) => expiryCell(row.notAfter, frame.now) },
  {
    head: "Actions",
    quietHead: true,
    className: "actions",
    cell: (row) =>
      row.state === "former" && isAdmin(frame)
        ? askLink(retireRootQuestion(issuer, row.ski), retireRootPath(issuer, row.ski), { label: "Retire" })
        : null,
  },
]

const rootsPanel = ({ frame, issuer, roots }: Pick<IssuerProps, "frame" | "issuer" | "roots">): Markup =>
  panel(
    {
      title: "Roots",
      flush: true,
      ...(isAdmin(frame)
        ? { actions: askLink(rollOverQuestion(issuer), rollOverPath(issuer), { label: "Roll over" }) }
        : {}),
    },
    dataTable({
      caption: "Roots of this issuer",
      columns: rootColumns(frame, issuer),
      rows: roots,
      rowId: (row) => row.ski,
    }),
  )

const rootDialogs = ({ frame, issuer, roots }: Pick<IssuerProps, "frame" | "issuer" | "roots">): Markup[] =>
  isAdmin(frame) && roots.length > 0
    ? [
        askDialog(rollOverQuestion(issuer)),
        ...roots.filter(({ state }) => state === "former").map(({ ski }) => askDialog(retireRootQuestion(issuer, ski))),
      ]
    : []

const actions = (frame: Frame, issuer: IssuerRow, deletion: Question): Markup =>
  html`<form method="post" action=${`${pathOf(issuer)}/test`}><button class="button">Test connection</button></form>${
    mayAdminister(frame)
      ? html`<form method="post" action=${`${pathOf(issuer)}/${issuer.enabled ? "disable" : "enable"}`}><button class="button">${issuer.enabled ? "Disable" : "Enable"}</button></form>
          ${askLink(deletion, `${pathOf(issuer)}/delete`, { label: "Delete" })}
          <a class="button primary" href=${`${pathOf(issuer)}/edit`}>Edit</a>`
      : null
  }`

export const issuerPage = ({ frame, issuer, config, roots, issued, problem, deletion }: IssuerProps): Markup =>
  layout(
    frame,
    {
      title: issuer.name,
      subtitle: issuer.typeLabel,
      up: { label: "Issuers", href: "/issuers" },
      ...(mayWork(frame) ? { actions: actions(frame, issuer, deletion) } : {}),
    },
    html`${testProblem(problem)}
    <div class="grid aside">
      <div class="main-column">
        ${panel({ title: "Configuration" }, configFacts(config))}
        ${roots.length === 0 ? null : rootsPanel({ frame, issuer, roots })}
        ${panel(
          {
            title: "Certificates",
            flush: true,
            ...(issuer.certificates > issued.length
              ? {
                  actions: html`<a href=${certificatesPath(issuer)}>All ${issuer.certificates.toLocaleString("en")}</a>`,
                }
              : {}),
          },
          issued.length === 0
            ? empty({
                icon: "certificate",
                title: "It has issued nothing yet",
                text: "Choose it as the issuer of a new certificate.",
              })
            : dataTable({
                caption: "Certificates of this issuer",
                columns: issuedColumns(frame.now),
                rows: issued,
                rowId: (row) => row.id,
              }),
        )}
      </div>
      <div class="side-column">${panel(
        { title: "Issuer" },
        facts([
          ["State", badge({ status: issuer.enabled ? "Enabled" : "Disabled" })],
          ["Connection", testCell(issuer.test, frame.now)],
          ["Type", issuer.typeLabel],
          ["Source", issuer.isFromEnvironment ? "the server's settings" : "made here"],
          ["Id", copyable(issuer.id, "id")],
          ["Created", timeAgo(issuer.createdAt, frame.now)],
          ["Changed", timeAgo(issuer.updatedAt, frame.now)],
        ]),
      )}</div>
    </div>${mayAdminister(frame) ? askDialog(deletion) : null}${rootDialogs({ frame, issuer, roots })}`,
  )
