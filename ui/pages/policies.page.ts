/** Policy rules: the list with how many certificates violate each, one of them, and the fields of their forms. */
import { badge, type Tone, toneBadge } from "../parts/badge"
import { askDialog, askLink, type Question } from "../parts/confirm"
import { copyable } from "../parts/copyable"
import type { FormField, FormSection } from "../parts/fields"
import { filterBar } from "../parts/filter-bar"
import type { Option } from "../parts/form"
import { type Frame, layout, mayWork } from "../parts/layout"
import { isFiltered, type ListState, type Paging } from "../parts/list-state"
import { breakable, html, type Markup } from "../parts/markup"
import { empty, facts, panel } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"
import { timeAgo } from "../parts/time"
import type { Kind } from "./resource-form.page"
import { countLink, type ListProps, resourceListPage, rowActions } from "./resource-list.page"

export type Severity = "Warning" | "Error" | "Critical"

export interface PolicyRow {
  readonly id: string
  readonly name: string
  /** The type in words, and what the rule demands as a sentence. */
  readonly typeWords: string
  readonly summary: string
  readonly severity: Severity
  readonly enabled: boolean
  readonly violations: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

interface ViolationRow {
  readonly id: string
  readonly certificate: { readonly id: string; readonly commonName: string }
  readonly message: string
  readonly createdAt: Date
}

export interface PoliciesProps extends ListProps<PolicyRow> {
  readonly severities: readonly { readonly severity: Severity; readonly enabled: boolean; readonly n: number }[]
}

export interface PolicyProps {
  readonly frame: Frame
  readonly policy: PolicyRow
  readonly state: ListState
  readonly paging: Paging
  readonly violations: readonly ViolationRow[]
  readonly deletion: Question
}

const severityTone: Readonly<Record<Severity, Tone>> = { Warning: "attention", Error: "bad", Critical: "bad" }
const severityBadge = (severity: Severity): Markup => toneBadge({ tone: severityTone[severity], word: severity })

export const policyKinds: readonly Kind[] = [
  { type: "AllowedIssuers", label: "Allowed issuers", description: "Certificates may come from certain issuers only." },
  {
    type: "AllowedDomains",
    label: "Allowed domains",
    description: "Every name in a certificate must be of one of these domains.",
  },
  { type: "RequiredMetadata", label: "Required tags", description: "Every certificate must carry certain tags." },
  {
    type: "AllowedEnvironments",
    label: "Allowed environments",
    description: "Every certificate must belong to one of these environments.",
  },
  {
    type: "RenewalLeadTime",
    label: "Renewal lead time",
    description: "A certificate must be renewed a number of days before it expires.",
  },
  {
    type: "CertificateLifetime",
    label: "Certificate lifetime",
    description: "What is issued may be valid for a number of days at most.",
  },
]

const configFields = (type: string, issuers: readonly Option[]): FormField[] => {
  switch (type) {
    case "AllowedIssuers":
      return [
        {
          kind: "ticks",
          name: "config.allowed_issuer_ids",
          label: "Allowed issuers",
          options: issuers,
          hint: "None ticked: any issuer will do, but there must be one.",
        },
      ]
    case "AllowedDomains":
      return [
        {
          kind: "lines",
          name: "config.allowed_domains",
          label: "Allowed domains",
          placeholder: "*.example.com",
          hint: "One per line. *.example.com covers names with one label more; example.com covers itself.",
        },
      ]
    case "RequiredMetadata":
      return [
        {
          kind: "lines",
          name: "config.required_keys",
          label: "Required tags",
          placeholder: "cost-centre",
          hint: "Names of tags, one per line.",
        },
      ]
    case "AllowedEnvironments":
      return [
        {
          kind: "lines",
          name: "config.allowed",
          label: "Allowed environments",
          placeholder: "production",
          hint: "One per line.",
        },
      ]
    case "RenewalLeadTime":
      return [
        {
          kind: "number",
          name: "config.lead_time_days",
          label: "Days before expiry",
          required: true,
          min: 1,
          max: 3650,
          hint: "A certificate that has fewer days left and was not renewed violates the rule.",
        },
      ]
    default:
      return [
        {
          kind: "number",
          name: "config.max_days",
          label: "Most days of validity",
          required: true,
          min: 1,
          max: 36_500,
        },
      ]
  }
}

export const policySections = (type: string, issuers: readonly Option[]): FormSection[] => [
  {
    title: "Rule",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255 },
      {
        kind: "select",
        name: "severity",
        label: "Severity",
        required: true,
        options: ["Warning", "Error", "Critical"].map((value) => ({ value, label: value })),
        hint: "How a violation is shown and told. It never blocks anything.",
      },
    ],
  },
  { title: "What it demands", fields: configFields(type, issuers) },
  {
    title: "Use",
    fields: [
      {
        kind: "tick",
        name: "enabled",
        label: "Enabled",
        hint: "A disabled rule finds nothing, and what it found is dropped.",
      },
    ],
  },
]

const columns = (frame: Frame): Column<PolicyRow>[] => [
  {
    head: "Rule",
    className: "lead",
    cell: (row) =>
      html`<span class="stacked"><a href=${`/policies/${row.id}`} data-row-link>${row.name}</a><span class="sub" title=${row.summary}>${row.summary}</span></span>`,
  },
  { head: "Type", className: "minor", cell: (row) => row.typeWords },
  { head: "Severity", cell: (row) => severityBadge(row.severity) },
  { head: "State", cell: (row) => badge({ status: row.enabled ? "Enabled" : "Disabled" }) },
  { head: "Violations", cell: (row) => countLink(row.violations, `/policies/${row.id}`, `violations of ${row.name}`) },
  { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
  {
    head: "Actions",
    quietHead: true,
    className: "actions",
    cell: (row) =>
      mayWork(frame)
        ? rowActions(row.name, [
            {
              label: row.enabled ? "Disable" : "Enable",
              post: `/policies/${row.id}/${row.enabled ? "disable" : "enable"}`,
              back: frame.url,
            },
            { label: "Edit", href: `/policies/${row.id}/edit` },
          ])
        : null,
  },
]

const strip = (severities: PoliciesProps["severities"]): Markup => {
  const all = severities.reduce((sum, { n }) => sum + n, 0)
  if (all === 0) return null
  const enabled = severities.filter((row) => row.enabled).reduce((sum, { n }) => sum + n, 0)
  const of = (severity: Severity) =>
    severities.filter((row) => row.severity === severity).reduce((sum, { n }) => sum + n, 0)
  return html`<ul class="strip"><li>${enabled} of ${all} enabled</li>${(["Critical", "Error", "Warning"] as const)
    .filter((severity) => of(severity) > 0)
    .map((severity) => html`<li>${severityBadge(severity)} ${of(severity)}</li>`)}</ul>`
}

export const policiesPage = (props: PoliciesProps): Markup =>
  resourceListPage(props, {
    title: "Policies",
    icon: "policy",
    noun: "rule",
    nouns: "rules",
    searched: "Name, id, type",
    emptyText:
      "A rule says what every certificate should comply with: its issuer, names, tags, environment or lifetime. Those that do not are listed here and told to their owners; nothing is blocked.",
    columns: columns(props.frame),
    mayAdd: mayWork(props.frame),
    above: strip(props.severities),
  })

const violationColumns = (now: Date): Column<ViolationRow>[] => [
  {
    head: "Certificate",
    className: "lead",
    cell: ({ certificate }) =>
      html`<a href=${`/certificates/${certificate.id}`} data-row-link>${breakable(certificate.commonName)}</a>`,
  },
  { head: "Why", className: "prose", cell: (row) => row.message },
  { head: "Since", cell: (row) => timeAgo(row.createdAt, now) },
]

const violationList = ({ frame, policy, state, paging, violations }: PolicyProps): Markup =>
  violations.length === 0
    ? isFiltered(state)
      ? empty({
          icon: "filter",
          title: "No violation matches",
          text: "Nothing fits what is searched for.",
          action: html`<a class="button" href=${state.path}>Clear filters</a>`,
        })
      : empty({
          icon: "check",
          title: policy.enabled ? "Every certificate complies" : "The rule is disabled",
          text: policy.enabled
            ? "A certificate that does not is listed here, with what is wrong with it."
            : "Enable it to find the certificates that do not comply.",
        })
    : html`${dataTable({ caption: "Violations", columns: violationColumns(frame.now), rows: violations, rowId: (row) => row.id, state })}${pager(state, paging)}`

export const policyPage = (props: PolicyProps): Markup => {
  const { frame, policy, state, paging, deletion } = props
  const verb = policy.enabled ? "disable" : "enable"
  return layout(
    frame,
    {
      title: policy.name,
      subtitle: policy.summary,
      up: { label: "Policies", href: "/policies" },
      ...(mayWork(frame)
        ? {
            actions: html`<form method="post" action=${`/policies/${policy.id}/${verb}`}><button class="button">${policy.enabled ? "Disable" : "Enable"}</button></form>
              ${askLink(deletion, `/policies/${policy.id}/delete`, { label: "Delete" })}
              <a class="button primary" href=${`/policies/${policy.id}/edit`}>Edit</a>`,
          }
        : {}),
    },
    html`<div class="grid aside">
      <div class="main-column">
        ${paging.total > 0 || isFiltered(state) ? filterBar(state, { search: { name: "q", label: "Search", placeholder: "Message, certificate id" } }) : null}
        ${panel({ title: `Violations${paging.total === 0 ? "" : ` (${paging.total.toLocaleString("en")})`}`, id: "violations", flush: true }, violationList(props))}
      </div>
      <div class="side-column">${panel(
        { title: "Rule" },
        facts([
          ["State", badge({ status: policy.enabled ? "Enabled" : "Disabled" })],
          ["Severity", severityBadge(policy.severity)],
          ["Type", policy.typeWords],
          ["Demands", policy.summary],
          ["Id", copyable(policy.id, "id")],
          ["Created", timeAgo(policy.createdAt, frame.now)],
          ["Changed", timeAgo(policy.updatedAt, frame.now)],
        ]),
      )}</div>
    </div>${mayWork(frame) ? askDialog(deletion) : null}`,
  )
}
