/** Results of the search over everything, grouped by what they are. */
import { badge } from "../parts/badge"
import { type IconName, icon } from "../parts/icon"
import { type Frame, layout } from "../parts/layout"
import { html, type Markup } from "../parts/markup"
import { empty, panel } from "../parts/panel"

export interface SearchRow {
  readonly id: string
  readonly title: string
  readonly subtitle: string
  readonly status: string | null
  readonly href: string
  readonly isExact: boolean
}

export interface SearchGroup {
  readonly kind: string
  readonly label: string
  readonly icon: IconName
  readonly rows: readonly SearchRow[]
  /** Rows that match; counted no further than `countedTo`. */
  readonly total: number
  /** Shows more of the kind; null where all are shown. */
  readonly moreHref: string | null
}

export interface SearchProps {
  readonly frame: Frame
  /** What was typed. */
  readonly text: string
  readonly groups: readonly SearchGroup[]
  readonly countedTo: number
}

/** The places of the text in a value, marked. */
const marked = (value: string, text: string): Markup => {
  const place = text === "" ? -1 : value.toLowerCase().indexOf(text.toLowerCase())
  if (place < 0) return value
  const end = place + text.length
  return html`${value.slice(0, place)}<mark>${value.slice(place, end)}</mark>${value.slice(end)}`
}

const resultRow = (row: SearchRow, text: string): Markup => html`<li class="result">
  <a class="result-title" href=${row.href}>${marked(row.title, text)}</a>
  ${row.status === null ? null : badge({ status: row.status })}
  ${row.isExact ? html`<span class="result-exact">exact</span>` : null}
  <span class="result-sub">${row.subtitle === "" ? null : html`<span>${marked(row.subtitle, text)}</span>`}<code>${marked(row.id, text)}</code></span>
</li>`

const countWords = ({ total }: SearchGroup, countedTo: number): string =>
  total >= countedTo ? `${countedTo} or more` : String(total)

const group = (one: SearchGroup, { text, countedTo }: SearchProps): Markup =>
  panel(
    {
      title: one.label,
      id: `found-${one.kind}`,
      flush: true,
      className: "results",
      actions: html`<span class="sub">${countWords(one, countedTo)}</span>${
        one.moreHref === null
          ? null
          : html`<a class="button small quiet" href=${one.moreHref} aria-label=${`All ${one.label.toLowerCase()}`}>All</a>`
      }`,
    },
    html`<ul class="result-list">${one.rows.map((row) => resultRow(row, text))}</ul>`,
  )

const nothing = (text: string): Markup =>
  text === ""
    ? empty({
        icon: "search",
        title: "Search everything",
        text: "Type part of a name, a host or a mail address, or an id, a serial number or a fingerprint.",
      })
    : empty({
        icon: "search",
        title: `Nothing has “${text}”`,
        text: "Part of a name is enough, from three characters on. Jobs, approvals, notifications and audit events are found by their whole id.",
      })

export const searchPage = (props: SearchProps): Markup => {
  const { frame, text, groups } = props
  const shown = groups.reduce((sum, one) => sum + one.rows.length, 0)
  return layout(
    frame,
    {
      title: text === "" ? "Search" : `Search: ${text}`,
      heading: text === "" ? "Search" : html`Results for “${text}”`,
      ...(shown === 0 ? {} : { subtitle: html`The best matches of each kind come first.` }),
    },
    html`<form class="search-again" role="search" aria-label="Search again" method="get" action="/search">
        <label class="visually-hidden" for="search-again">Search everything</label>
        <span class="search-box">${icon("search")}<input id="search-again" type="search" name="q" value=${text} maxlength="255" autocomplete="off" /></span>
        <button class="button primary">Search</button>
      </form>
      ${groups.length === 0 ? nothing(text) : groups.map((one) => group(one, props))}`,
  )
}
