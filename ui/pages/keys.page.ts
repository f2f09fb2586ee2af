/** API keys: who may come in, when each key was used last, and a new key, which is shown once. */
import { toneBadge, toneMark } from "../parts/badge"
import type { Question } from "../parts/confirm"
import { commandBox } from "../parts/copyable"
import type { FormSection } from "../parts/fields"
import { type Frame, layout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { timeAgo } from "../parts/time"
import { type ListProps, resourceListPage, rowActions } from "./resource-list.page"

export interface KeyRow {
  readonly id: string
  readonly name: string
  readonly principal: string
  readonly role: "admin" | "operator" | "viewer"
  readonly createdAt: Date
  readonly lastUsedAt: Date | null
  readonly disabledAt: Date | null
}

export interface KeyShownProps {
  readonly frame: Frame
  readonly name: string
  readonly role: KeyRow["role"]
  /** In this answer and in no other ever again. */
  readonly key: string
  /** The former key has ended. */
  readonly isRotated: boolean
}

const roleWords = {
  admin: "administrator: everything",
  operator: "operator: everything but keys, issuers and revocation",
  viewer: "viewer: reads only",
} as const

export const keySections: readonly FormSection[] = [
  {
    title: "Key",
    fields: [
      {
        kind: "text",
        name: "name",
        label: "Name",
        required: true,
        mono: true,
        maxlength: 255,
        placeholder: "ci-deploy",
        hint: 'Letters, digits and ". _ - + @". It stands in the audit trail.',
      },
      {
        kind: "select",
        name: "role",
        label: "Role",
        required: true,
        options: (["viewer", "operator", "admin"] as const).map((value) => ({ value, label: roleWords[value] })),
      },
      {
        kind: "text",
        name: "principal",
        label: "Principal",
        mono: true,
        maxlength: 255,
        hint: "Who acts with it; the name, when left empty. Two keys of one principal can overlap while one replaces the other.",
      },
    ],
  },
]

/** @param seen tells the server which key is meant, so that a form that is sent twice does not rotate twice */
export const rotateQuestion = ({ id, name }: Pick<KeyRow, "id" | "name">, seen: string, error?: string): Question => ({
  id: "ask-rotate",
  title: `Rotate ${name}?`,
  text: html`<p>A new key is made and shown once. The present one, and the sessions it opened, end at once; yours too, if you signed in with it.</p>`,
  action: `/keys/${id}/rotate`,
  confirmLabel: "Rotate key",
  danger: true,
  ...(error === undefined ? {} : { error }),
  fields: () => html`<input type="hidden" name="seen" value=${seen} />`,
})

export const disableQuestion = ({ id, name }: Pick<KeyRow, "id" | "name">): Question => ({
  id: "ask-disable",
  title: `Disable ${name}?`,
  text: html`<p>It is refused from now on, and the sessions it opened end; yours too, if you signed in with it. A disabled key cannot be enabled again.</p>`,
  action: `/keys/${id}/disable`,
  confirmLabel: "Disable key",
  danger: true,
})

export const keysPage = (props: ListProps<KeyRow>): Markup => {
  const { frame } = props
  return resourceListPage(props, {
    title: "API keys",
    icon: "key",
    noun: "API key",
    nouns: "API keys",
    searched: "Name, principal, id",
    emptyText:
      "Keys of people and programs are listed here. Keys from the server's settings are not: they have no row.",
    mayAdd: true,
    columns: [
      {
        head: "Key",
        className: "lead",
        cell: (row) =>
          html`<span class="stacked"><span>${row.name}</span>${row.principal === row.name ? null : html`<span class="sub">acts as ${row.principal}</span>`}</span>`,
      },
      { head: "Role", cell: (row) => row.role },
      {
        head: "State",
        cell: (row) =>
          row.disabledAt === null
            ? toneBadge({ tone: "good", word: "Active" })
            : html`<span class="stacked">${toneBadge({ tone: "neutral", word: "Disabled" })}<span class="sub">${timeAgo(row.disabledAt, frame.now)}</span></span>`,
      },
      { head: "Last used", cell: (row) => timeAgo(row.lastUsedAt, frame.now) },
      { head: "Created", className: "minor", cell: (row) => timeAgo(row.createdAt, frame.now) },
      {
        head: "Actions",
        quietHead: true,
        className: "actions",
        cell: (row) =>
          row.disabledAt === null
            ? rowActions(row.name, [
                { label: "Rotate", href: `/keys/${row.id}/rotate` },
                { label: "Disable", href: `/keys/${row.id}/disable` },
              ])
            : null,
      },
    ],
  })
}

export const keyShownPage = ({ frame, name, role, key, isRotated }: KeyShownProps): Markup =>
  layout(
    frame,
    { title: isRotated ? `New key for ${name}` : `Key ${name}`, up: { label: "API keys", href: "/keys" } },
    html`<div class="stack">
      <div class="notice tone-attention" role="status">${toneMark("attention")}<p>This key is shown once. Only its hash is stored: copy it now, since nobody can look it up later.</p></div>
      <section class="panel" aria-labelledby="key-heading"><header class="panel-head"><h2 id="key-heading">The key</h2></header><div class="panel-body">
        ${commandBox(key, "API key")}
        <p>Role: ${role}. Send it as <code>Authorization: Bearer</code>, put it into <code>CERTCTL_API_KEY</code> for the command line, or sign in to this console with it.</p>
        ${isRotated ? html`<p>The former key is refused from now on.</p>` : null}
      </div></section>
      <p><a class="button primary" href="/keys">Done: I have copied it</a></p>
    </div>`,
  )
