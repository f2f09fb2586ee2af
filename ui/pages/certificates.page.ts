/** The certificate list: what there is, how long it lasts, whether it is proven to be in place. */
import { SelectionBar } from "../islands/selection-bar.island"
import { badge } from "../parts/badge"
import { evidenceSummary } from "../parts/evidence"
import { filterBar } from "../parts/filter-bar"
import type { Option } from "../parts/form"
import { icon } from "../parts/icon"
import { island } from "../parts/island"
import { type Frame, isAdmin, layout, live, mayWork } from "../parts/layout"
import { expiryCell } from "../parts/lifetime"
import { isFiltered, type ListState, type Paging } from "../parts/list-state"
import { breakable, html, type Markup } from "../parts/markup"
import { empty } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { timeAgo } from "../parts/time"
import type { Named, RenewalOutlook } from "./views"

export interface CertificateRow {
  readonly id: string
  readonly name: string
  readonly commonName: string
  readonly sanCount: number
  readonly status: string
  readonly environment: string
  readonly expiresAt: Date | null
  readonly renewal: RenewalOutlook
  readonly lastRenewalAt: Date | null
  readonly lastDeploymentAt: Date | null
  /** How many targets have fresh proof of serving it, how many contradict, how many there are. */
  readonly proof: { readonly verified: number; readonly mismatched: number; readonly targets: number }
  readonly issuer: Named | null
  readonly owner: Named | null
}

export interface CertificatesProps {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly rows: readonly CertificateRow[]
  readonly filters: {
    readonly issuers: readonly Option[]
    readonly owners: readonly Option[]
    readonly teams: readonly Option[]
    readonly profiles: readonly Option[]
    readonly environments: readonly Option[]
  }
}

const BULK_FORM = "bulk"

const certificateStatuses: readonly Option[] = [
  { value: "Active", label: "Active" },
  { value: "Expiring", label: "Expiring" },
  { value: "Expired", label: "Expired" },
  { value: "RenewalInProgress", label: "Renewing" },
  { value: "Pending", label: "Pending" },
  { value: "Failed", label: "Failed" },
  { value: "Revoked", label: "Revoked" },
  { value: "Archived", label: "Archived" },
]

/** The next renewal and below it the last one. */
const renewalCell = ({ renewal, lastRenewalAt }: CertificateRow, now: Date): Markup => {
  const last = lastRenewalAt === null ? "never renewed" : html`last ${timeAgo(lastRenewalAt, now)}`
  const words: Markup =
    "at" in renewal
      ? renewal.at.getTime() <= now.getTime()
        ? "due now"
        : timeAgo(renewal.at, now)
      : { manual: "by hand", client: "by its client", none: html`<span class="muted">–</span>` }[renewal.kind]
  return html`<span class="stacked"><span>${words}</span><span class="sub">${renewal.kind === "approval" ? "needs approval" : last}</span></span>`
}

const deploymentCell = ({ proof, lastDeploymentAt }: CertificateRow, now: Date): Markup =>
  html`<span class="stacked">${evidenceSummary(proof.verified, proof.mismatched, proof.targets)}<span class="sub">${
    lastDeploymentAt === null ? "never deployed" : html`sent ${timeAgo(lastDeploymentAt, now)}`
  }</span></span>`

const tickColumn: Column<CertificateRow> = {
  head: "Select",
  quietHead: true,
  className: "tick",
  cell: (row) =>
    html`<input type="checkbox" name="ids" value=${row.id} form=${BULK_FORM} aria-label=${`Select ${row.commonName}`} />`,
}

/** What the common name does not say already. */
const sideFacts = ({ name, commonName, sanCount, environment }: CertificateRow): string =>
  [name === commonName ? "" : name, sanCount > 1 ? `${sanCount} names` : "", environment]
    .filter((fact) => fact !== "")
    .join(" · ")

const columns = (now: Date, selectable: boolean): Column<CertificateRow>[] => [
  ...(selectable ? [tickColumn] : []),
  {
    head: "Certificate",
    sort: "commonName",
    className: "lead",
    cell: (row) =>
      html`<span class="stacked"><a href=${`/certificates/${row.id}`} data-row-link>${breakable(row.commonName)}</a><span class="sub">${sideFacts(row)}</span></span>`,
  },
  { head: "Status", sort: "status", cell: (row) => badge({ status: row.status }) },
  { head: "Expires", sort: "notAfter", cell: (row) => expiryCell(row.expiresAt, now) },
  { head: "Renewal", cell: (row) => renewalCell(row, now) },
  { head: "Deployment", cell: (row) => deploymentCell(row, now) },
  {
    head: "Owner, issuer",
    className: "trim minor",
    cell: (row) =>
      html`<span class="stacked"><span title=${row.owner?.name}>${row.owner?.name ?? html`<span class="muted">nobody</span>`}</span><span class="sub" title=${row.issuer?.name}>${row.issuer?.name ?? ""}</span></span>`,
  },
]

const emptyList = ({ frame, state }: CertificatesProps): Markup =>
  isFiltered(state)
    ? empty({
        icon: "filter",
        title: "No certificate matches",
        text: "Nothing in the inventory fits these filters.",
        action: html`<a class="button" href=${state.path}>Clear filters</a>`,
      })
    : empty({
        icon: "certificate",
        title: "No certificates yet",
        text: "A certificate added here is issued, deployed, verified and renewed from then on.",
        action: mayWork(frame)
          ? html`<a class="button primary" href="/certificates/new">${icon("plus")}New certificate</a>`
          : undefined,
      })

export const certificatesPage = (props: CertificatesProps): Markup => {
  const { frame, state, paging, rows, filters } = props
  const selectable = mayWork(frame)
  return layout(
    frame,
    {
      title: "Certificates",
      subtitle: `${paging.total.toLocaleString("en")} ${isFiltered(state) ? "match" : "in the inventory"}`,
      live: { intervalSeconds: 30 },
      actions: selectable
        ? html`<a class="button primary" href="/certificates/new" data-new>${icon("plus")}New certificate</a>`
        : undefined,
    },
    html`
      ${filterBar(state, {
        search: { name: "search", label: "Search", placeholder: "Name, CN, SAN" },
        selects: [
          { name: "status", label: "Status", options: certificateStatuses },
          { name: "environment", label: "Environment", options: filters.environments },
          { name: "issuer_id", label: "Issuer", options: filters.issuers },
          { name: "owner_id", label: "Owner", options: filters.owners },
          { name: "team_id", label: "Team", options: filters.teams },
          { name: "profile_id", label: "Profile", options: filters.profiles },
        ],
        dates: [
          { name: "expires_after", label: "Expires after" },
          { name: "expires_before", label: "Expires before" },
        ],
      })}
      ${live(
        "list",
        html`<div class="panel flush list">${
          rows.length === 0
            ? emptyList(props)
            : html`
              ${dataTable({ caption: "Certificates", columns: columns(frame.now, selectable), rows, rowId: (row) => row.id, state })}
              ${
                selectable
                  ? html`<form id=${BULK_FORM} method="post" action="/certificates/bulk-renew" class="bulk-bar">${island("selection-bar", SelectionBar, { formId: BULK_FORM, noun: "certificate" })}<span class="bulk-actions">${
                      isAdmin(frame)
                        ? html`<button class="button" formaction="/certificates/bulk-revoke">${icon("revoke")}Revoke</button>`
                        : null
                    }<button class="button" formaction="/certificates/bulk-reassign">${icon("owner")}Reassign</button><button class="button primary">${icon("refresh")}Renew</button></span></form>`
                  : null
              }
              ${pager(state, paging)}`
        }</div>`,
      )}`,
  )
}
