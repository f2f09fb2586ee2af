/** Certificate profiles: what may be issued. */
import { badge } from "../parts/badge"
import type { FormSection } from "../parts/fields"
import { mayWork } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { countLink, type ListProps, resourceListPage } from "./resource-list.page"
import { changeActions, namedCell } from "./teams.page"
import type { Named } from "./views"

export interface ProfileRow extends Named {
  readonly description: string
  /** "RSA 2048+". */
  readonly keys: readonly string[]
  /** null: no limit. */
  readonly maxTtlWords: string | null
  readonly shortLived: boolean
  readonly requiresApproval: boolean
  readonly mustStaple: boolean
  readonly ekus: readonly string[]
  readonly enabled: boolean
  readonly certificates: number
}

const ekuOptions = [
  { value: "serverAuth", label: "Server authentication" },
  { value: "clientAuth", label: "Client authentication" },
  { value: "codeSigning", label: "Code signing" },
  { value: "emailProtection", label: "E-mail protection" },
  { value: "timeStamping", label: "Time stamping" },
]

const sizes = (name: string, label: string, options: readonly string[], unit: string) =>
  ({
    kind: "select",
    name,
    label,
    empty: "Not allowed",
    options: options.map((value) => ({ value, label: `${value} ${unit} or more` })),
  }) as const

export const ttlUnits = [
  { value: "60", label: "minutes" },
  { value: "3600", label: "hours" },
  { value: "86400", label: "days" },
]

export const profileSections: readonly FormSection[] = [
  {
    title: "Profile",
    fields: [
      { kind: "text", name: "name", label: "Name", required: true, maxlength: 255, placeholder: "Web server" },
      { kind: "lines", name: "description", label: "Description", prose: true, rows: 2 },
    ],
  },
  {
    title: "Keys",
    fields: [
      [
        sizes("key_rsa", "RSA", ["2048", "3072", "4096"], "bits"),
        sizes("key_ecdsa", "ECDSA", ["256", "384", "521"], "bits"),
      ],
      {
        kind: "tick",
        name: "key_ed25519",
        label: "Ed25519",
        hint: "With none of the three chosen, ECDSA from 256 and RSA from 2048 bits are allowed.",
      },
    ],
  },
  {
    title: "Lifetime",
    fields: [
      [
        {
          kind: "number",
          name: "ttl",
          label: "Longest lifetime",
          min: 0,
          placeholder: "0",
          hint: "Empty or 0: no limit but the issuer's.",
        },
        { kind: "select", name: "ttl_unit", label: "Counted in", options: ttlUnits, required: true },
      ],
      {
        kind: "tick",
        name: "allow_short_lived",
        label: "Short-lived",
        hint: "For lifetimes below one hour: such certificates need no revocation, are in no CRL and get no expiry alerts.",
      },
    ],
  },
  {
    title: "Use and names",
    fields: [
      {
        kind: "ticks",
        name: "allowed_ekus",
        label: "Extended key usages",
        options: ekuOptions,
        hint: "None ticked: server authentication.",
      },
      {
        kind: "lines",
        name: "required_san_patterns",
        label: "Name patterns",
        placeholder: "*.example.com",
        hint: "One per line. With any, every name must match one of them.",
      },
      {
        kind: "text",
        name: "spiffe_uri_pattern",
        label: "SPIFFE pattern",
        mono: true,
        placeholder: "spiffe://example.com/*",
      },
      {
        kind: "lines",
        name: "required_csr_attributes",
        label: "Required CSR attributes",
        rows: 2,
        hint: "Attribute names or object identifiers, one per line.",
      },
    ],
  },
  {
    title: "Issuance",
    fields: [
      { kind: "tick", name: "requires_approval", label: "Somebody must approve each issuance" },
      {
        kind: "tick",
        name: "must_staple",
        label: "Must-staple",
        hint: "Clients then demand a stapled OCSP answer: only for servers that staple.",
      },
      {
        kind: "select",
        name: "acme_auth_mode",
        label: "ACME clients",
        empty: "As the server is configured",
        options: [
          { value: "trust_authenticated", label: "Get every name that matches, without proof" },
          { value: "challenge", label: "Must prove each name" },
        ],
      },
      { kind: "tick", name: "enabled", label: "Enabled", hint: "Nothing is issued by a disabled profile." },
    ],
  },
]

const limits = (row: ProfileRow): Markup =>
  html`<span class="stacked"><span>${row.maxTtlWords ?? "no limit"}</span>${
    row.shortLived || row.requiresApproval || row.mustStaple
      ? html`<span class="sub">${[row.shortLived && "short-lived", row.requiresApproval && "needs approval", row.mustStaple && "must-staple"].filter(Boolean).join(", ")}</span>`
      : null
  }</span>`

export const profilesPage = (props: ListProps<ProfileRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "Profiles",
    icon: "profile",
    noun: "profile",
    nouns: "profiles",
    searched: "Name, id, description",
    emptyText:
      "A profile limits what may be issued: key types and sizes, lifetime, usages and names. A signing request that goes beyond it is refused.",
    mayAdd: mayWork(frame),
    columns: [
      { head: "Profile", className: "lead", cell: (row) => namedCell(frame, "/profiles", row, row.description) },
      { head: "Keys", cell: (row) => html`<ul class="chips">${row.keys.map((key) => html`<li>${key}</li>`)}</ul>` },
      { head: "Lifetime", cell: limits },
      {
        head: "Usages",
        className: "trim minor",
        cell: (row) => html`<span title=${row.ekus.join(", ")}>${row.ekus.join(", ")}</span>`,
      },
      { head: "State", cell: (row) => badge({ status: row.enabled ? "Enabled" : "Disabled" }) },
      {
        head: "Certificates",
        cell: (row) =>
          countLink(
            row.certificates,
            `/certificates?${new URLSearchParams({ profile_id: row.id })}`,
            `certificates of ${row.name}`,
          ),
      },
      changeActions(frame, "/profiles"),
    ],
  })
}
