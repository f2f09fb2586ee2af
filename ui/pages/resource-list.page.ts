/** Lists of what is made and changed by forms: search, table, pager, and words for when there is nothing. */
import { filterBar } from "../parts/filter-bar"
import { type IconName, icon } from "../parts/icon"
import { type Frame, layout } from "../parts/layout"
import { isFiltered, type ListState, type Paging } from "../parts/list-state"
import { html, type Markup } from "../parts/markup"
import { empty } from "../parts/panel"
import { type Column, dataTable, pager } from "../parts/table"

export interface ListProps<Row> {
  readonly frame: Frame
  readonly state: ListState
  readonly paging: Paging
  readonly rows: readonly Row[]
}

interface ListLook<Row> {
  readonly title: string
  readonly icon: IconName
  /** "team": what one row is. */
  readonly noun: string
  /** "teams". */
  readonly nouns: string
  /** What is searched, as a placeholder. */
  readonly searched?: string
  /** Why there is nothing yet and what these things are good for. */
  readonly emptyText: string
  readonly columns: readonly Column<Row>[]
  /** Offered to those who may make one. */
  readonly mayAdd: boolean
  readonly addLabel?: string
  /** Above the table: a strip of counts, a notice. */
  readonly above?: Markup
}

/** @param look what differs between the lists */
export const resourceListPage = <Row extends { readonly id: string }>(
  { frame, state, paging, rows }: ListProps<Row>,
  look: ListLook<Row>,
): Markup => {
  const { title, noun, nouns, searched, columns, mayAdd, above } = look
  const add = mayAdd
    ? html`<a class="button primary" href=${`${state.path}/new`} data-new>${icon("plus")}${look.addLabel ?? `New ${noun}`}</a>`
    : undefined
  const nothing = isFiltered(state)
    ? empty({
        icon: "filter",
        title: `No ${noun} matches`,
        text: "Nothing fits what is searched for.",
        action: html`<a class="button" href=${state.path}>Clear filters</a>`,
      })
    : empty({ icon: look.icon, title: `No ${nouns} yet`, text: look.emptyText, ...(add ? { action: add } : {}) })
  return layout(
    frame,
    {
      title,
      subtitle: `${paging.total.toLocaleString("en")} ${isFiltered(state) ? "match" : paging.total === 1 ? noun : nouns}`,
      ...(add ? { actions: add } : {}),
    },
    html`
      ${searched === undefined ? null : filterBar(state, { search: { name: "q", label: "Search", placeholder: searched } })}
      ${above}
      <div class="panel flush list">${
        rows.length === 0
          ? nothing
          : html`${dataTable({ caption: title, columns, rows, rowId: (row) => row.id, state })}${pager(state, paging)}`
      }</div>`,
  )
}

/** The links and buttons at the end of a row; `name` says which row to those who do not see it. */
export const rowActions = (
  name: string,
  actions: readonly (
    | { readonly label: string; readonly href: string }
    | { readonly label: string; readonly post: string; readonly back?: string }
  )[],
): Markup =>
  html`<span class="row-actions">${actions.map((action) =>
    "href" in action
      ? html`<a class="button small quiet" href=${action.href} aria-label=${`${action.label} ${name}`}>${action.label}</a>`
      : html`<form method="post" action=${action.post}>${action.back === undefined ? null : html`<input type="hidden" name="back" value=${action.back} />`}<button class="button small quiet" aria-label=${`${action.label} ${name}`}>${action.label}</button></form>`,
  )}</span>`

/** A number that leads to what it counts. */
export const countLink = (count: number, href: string, what: string): Markup =>
  count === 0
    ? html`<span class="muted">none</span>`
    : html`<a href=${href} aria-label=${`${count} ${what}`}>${count.toLocaleString("en")}</a>`
