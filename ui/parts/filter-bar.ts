/** A list's filters: an ordinary GET form. With script, choosing applies at once; without it the button does. */
import type { Option } from "./form"
import { icon } from "./icon"
import { isFiltered, type ListState, linkTo } from "./list-state"
import { html, type Markup } from "./markup"

interface Filters {
  readonly search?: { readonly name: string; readonly label: string; readonly placeholder: string }
  readonly selects?: readonly { readonly name: string; readonly label: string; readonly options: readonly Option[] }[]
  readonly texts?: readonly { readonly name: string; readonly label: string }[]
  readonly dates?: readonly { readonly name: string; readonly label: string }[]
  /** Parameters set elsewhere (tabs) that applying the form must not lose. */
  readonly kept?: readonly string[]
}

/** Selects beyond these few, and all texts and dates, stand behind "More filters" until one of them is used. */
const ALWAYS_SHOWN = 3

const select = (
  state: ListState,
  { name, label, options }: { name: string; label: string; options: readonly Option[] },
): Markup => {
  const current = state.params[name] ?? ""
  return html`<div class="filter"><label for=${`filter-${name}`}>${label}</label>
    <select id=${`filter-${name}`} name=${name} class=${current === "" ? undefined : "on"}><option value="">All</option>${options.map(
      (option) => html`<option value=${option.value} selected=${option.value === current}>${option.label}</option>`,
    )}</select></div>`
}

const input = (state: ListState, { name, label, type }: { name: string; label: string; type: string }): Markup =>
  html`<div class="filter"><label for=${`filter-${name}`}>${label}</label><input id=${`filter-${name}`} name=${name} type=${type} value=${state.params[name] ?? ""} class=${state.params[name] ? "on" : undefined} autocomplete="off" /></div>`

export const filterBar = (
  state: ListState,
  { search, selects = [], texts = [], dates = [], kept: keptToo = [] }: Filters,
): Markup => {
  // A select without choices could narrow nothing.
  const useful = selects.filter(({ name, options }) => options.length > 0 || state.params[name])
  const first = useful.slice(0, ALWAYS_SHOWN)
  const further = useful.slice(ALWAYS_SHOWN)
  const furtherNames = [...further, ...texts, ...dates].map(({ name }) => name)
  const used = furtherNames.filter((name) => state.params[name]).length
  const kept = ["sort", "page_size", "tab", ...keptToo].filter((name) => state.params[name])
  return html`<form class="filters" method="get" action=${state.path} role="search" aria-label="Filters" data-autosubmit>
    ${kept.map((name) => html`<input type="hidden" name=${name} value=${state.params[name]} />`)}
    ${
      search
        ? html`<div class="filter filter-search"><label for="filter-search">${search.label}</label><span class="search-box">${icon("search")}<input id="filter-search" type="search" name=${search.name} value=${state.params[search.name] ?? ""} placeholder=${search.placeholder} autocomplete="off" /></span></div>`
        : null
    }
    ${first.map((filter) => select(state, filter))}
    ${
      furtherNames.length === 0
        ? null
        : html`<details class="more-filters" open=${used > 0}><summary class="button quiet">${icon("filter")}More filters</summary><div class="more-filters-body">
            ${further.map((filter) => select(state, filter))}
            ${texts.map((filter) => input(state, { ...filter, type: "text" }))}
            ${dates.map((filter) => input(state, { ...filter, type: "date" }))}
          </div></details>`
    }
    <div class="filter-actions"><button class="button">Apply</button>${
      isFiltered(state) ? html`<a class="button quiet" href=${clearLink(state)}>Clear</a>` : null
    }</div>
  </form>`
}

const clearLink = (state: ListState): string =>
  linkTo(
    state,
    Object.fromEntries(
      Object.keys(state.params)
        .filter((name) => !["sort", "page_size", "tab"].includes(name))
        .map((name) => [name, null]),
    ),
  )
