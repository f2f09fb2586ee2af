/** Data tables: real tables with scoped heads, sort links and a pager, scrolling sideways inside their own box. */

import { type ListState, linkTo, type Paging } from "./list-state"
import { classes, html, type Markup } from "./markup"

export interface Column<Row> {
  readonly head: string
  readonly cell: (row: Row) => Markup
  /** The list's sort key behind this column. */
  readonly sort?: string
  /** `lead` names the row, `wide` takes what is left, `prose` too and wraps, `trim` cuts long words, `minor` is left out on phones. */
  readonly className?: "lead" | "wide" | "prose" | "trim" | "minor" | "trim minor" | "tick" | "actions"
  /** The head is there for screen readers only (action columns). */
  readonly quietHead?: boolean
}

export interface TableProps<Row> {
  /** Says what the table holds; read out, not shown. */
  readonly caption: string
  readonly columns: readonly Column<Row>[]
  readonly rows: readonly Row[]
  readonly rowId: (row: Row) => string
  readonly state?: ListState
}

const headCell = <Row>(column: Column<Row>, state: ListState | undefined): Markup => {
  if (column.quietHead)
    return html`<th scope="col" class=${column.className}><span class="visually-hidden">${column.head}</span></th>`
  if (column.sort === undefined || state === undefined) {
    return html`<th scope="col" class=${column.className}>${column.head}</th>`
  }
  const current = state.params.sort
  const direction = current === column.sort ? "ascending" : current === `-${column.sort}` ? "descending" : undefined
  const next = direction === "ascending" ? `-${column.sort}` : column.sort
  return html`<th scope="col" class=${column.className} aria-sort=${direction}>
    <a class=${classes("sort", direction && `sort-${direction}`)} href=${linkTo(state, { sort: next })}>${column.head}<svg class="sort-mark" viewBox="0 0 8 12" width="8" height="12" aria-hidden="true"><path class="up" d="M1 5 4 1.5 7 5z" /><path class="down" d="M1 7 4 10.5 7 7z" /></svg></a>
  </th>`
}

const bodyCell = <Row>(column: Column<Row>, row: Row): Markup => {
  const content = column.cell(row)
  const isLead = column.className === "lead"
  // On phones a row is a card: its cells carry their heads with them, and blank ones are left out.
  return html`<td class=${classes(column.className, content === null && "blank")} data-label=${isLead || column.quietHead ? undefined : column.head}>${content}</td>`
}

export const dataTable = <Row>({ caption, columns, rows, rowId, state }: TableProps<Row>): Markup =>
  html`<div class="table-box" role="region" aria-label=${`${caption}, table`} tabindex="0">
    <table>
      <caption class="visually-hidden">${caption}</caption>
      <thead><tr>${columns.map((column) => headCell(column, state))}</tr></thead>
      <tbody>${rows.map((row) => html`<tr data-key=${rowId(row)}>${columns.map((column) => bodyCell(column, row))}</tr>`)}</tbody>
    </table>
  </div>`

const pageSizes = [25, 50, 100, 200]

/** "Showing a–b of n", rows per page, Previous and Next. */
export const pager = (state: ListState, { page, pageSize, total }: Paging): Markup => {
  const first = total === 0 ? 0 : (page - 1) * pageSize + 1
  const last = Math.min(total, page * pageSize)
  const sizes = pageSizes.filter((_size, index) => index === 0 || total > (pageSizes[index - 1] ?? 0))
  return html`<nav class="pager" aria-label="Pages">
    <p>Showing ${first}–${last} of ${total.toLocaleString("en")}</p>
    ${
      sizes.length < 2
        ? null
        : html`<p class="pager-sizes">Rows ${sizes.map((size) =>
            size === pageSize
              ? html`<span class="current" aria-current="true">${size}</span>`
              : html`<a href=${linkTo(state, { page_size: String(size) })}>${size}</a>`,
          )}</p>`
    }
    ${
      page > 1 || last < total
        ? html`<p class="pager-steps">
          ${page > 1 ? html`<a class="button quiet" rel="prev" href=${linkTo(state, { page: String(page - 1) })}>Previous</a>` : null}
          ${last < total ? html`<a class="button quiet" rel="next" href=${linkTo(state, { page: String(page + 1) })}>Next</a>` : null}
        </p>`
        : null
    }
  </nav>`
}
