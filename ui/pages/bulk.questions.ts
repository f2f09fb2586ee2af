/** What is asked before something is done to several certificates at once. */
import type { Question } from "../parts/confirm"
import { type Option, selectField } from "../parts/form"
import { html, type Markup } from "../parts/markup"
import { revocationReasons } from "./certificate.questions"

interface Selected {
  readonly id: string
  readonly commonName: string
}

/** As many names as one takes in at a glance. */
const mostNamed = 8

const counted = ({ length }: readonly unknown[]): string => `${length} certificate${length === 1 ? "" : "s"}`

const named = (selected: readonly Selected[]): Markup =>
  html`<ul>${selected.slice(0, mostNamed).map(({ commonName }) => html`<li class="break">${commonName}</li>`)}${
    selected.length > mostNamed ? html`<li>and ${selected.length - mostNamed} more</li>` : null
  }</ul>`

/** The selection goes along with the answer, and says that this is one. */
const carried = (selected: readonly Selected[]): Markup =>
  html`<input type="hidden" name="step" value="answered" />${selected.map(
    ({ id }) => html`<input type="hidden" name="ids" value=${id} />`,
  )}`

export const bulkRevokeQuestion = (selected: readonly Selected[]): Question => ({
  id: "ask-bulk-revoke",
  title: `Revoke ${counted(selected)}?`,
  text: html`<p>Clients that check revocation refuse them from then on. This cannot be undone. Their targets keep serving them until they are replaced there.</p>${named(selected)}`,
  action: "/certificates/bulk-revoke",
  confirmLabel: `Revoke ${counted(selected)}`,
  danger: true,
  typeToConfirm: `revoke ${selected.length}`,
  fields: (prefix) =>
    html`${carried(selected)}${selectField({
      id: `${prefix}-reason`,
      name: "reason",
      label: "Reason",
      options: revocationReasons,
      value: "unspecified",
      required: true,
    })}`,
})

export const bulkReassignQuestion = (
  selected: readonly Selected[],
  { owners, teams }: { readonly owners: readonly Option[]; readonly teams: readonly Option[] },
): Question => ({
  id: "ask-bulk-reassign",
  title: `Reassign ${counted(selected)}`,
  text: html`<p>The new owner gets what is said about them from then on.</p>${named(selected)}`,
  action: "/certificates/bulk-reassign",
  confirmLabel: `Reassign ${counted(selected)}`,
  danger: false,
  fields: (prefix) =>
    html`${carried(selected)}${selectField({
      id: `${prefix}-owner`,
      name: "owner_id",
      label: "Owner",
      options: owners,
      empty: "Choose an owner",
      required: true,
    })}${selectField({
      id: `${prefix}-team`,
      name: "team_id",
      label: "Team",
      options: teams,
      empty: "Each keeps its own",
    })}`,
})
