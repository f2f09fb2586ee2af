/** A list's state lives in its URL: filters, sort and page survive reload, back and sharing. */

export interface ListState {
  readonly path: string
  /** Present query parameters; `notice` and its companions are not among them. */
  readonly params: Readonly<Record<string, string>>
}

export interface Paging {
  readonly page: number
  readonly pageSize: number
  readonly total: number
}

const notState = new Set(["notice", "job"])

export const listState = (path: string, query: URLSearchParams): ListState => ({
  path,
  params: Object.fromEntries([...query].filter(([name, value]) => value !== "" && !notState.has(name))),
})

/** A link to the same list with some parameters changed (null removes one). Any change but of the page returns to page 1. */
export const linkTo = ({ path, params }: ListState, changes: Readonly<Record<string, string | null>>): string => {
  const next = new Map(Object.entries(params))
  if (!("page" in changes)) next.delete("page")
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(name)
    else next.set(name, value)
  }
  const query = new URLSearchParams([...next]).toString()
  return query === "" ? path : `${path}?${query}`
}

/** Whether anything narrows the list. */
export const isFiltered = ({ params }: ListState): boolean =>
  Object.keys(params).some((name) => !["page", "page_size", "sort", "tab"].includes(name))
