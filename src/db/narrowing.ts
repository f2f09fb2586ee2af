/**
 * Free text in the lists of kinds that the text index knows. Few rows that have the text are named by their ids, which leaves the
 * list little to sort; of many, the list finds a page soon enough by looking at one row after the other in its order.
 */
import type { Db } from "./db"
import type { TextFilter } from "./listing"
import { searchIndex } from "./search-index"
import type { SearchedKindName } from "./searched-kinds"

interface NarrowedFilter extends TextFilter {
  readonly ids?: readonly string[] | undefined
}

/** Rows that have a text are counted so far: a total that says as many means as many or more. */
export const searchedTotal = 1000

interface Narrowed<F> {
  /** With ids in place of the text, unless too many rows have it or it is too short to look up. */
  readonly filter: F
  readonly isMany: boolean
}

/** @param more ids of rows that a text finds elsewhere than in its own row */
export const narrowing = <F extends NarrowedFilter>(
  db: Pick<Db, "t" | "read" | "scan" | "dialect">,
  kind: SearchedKindName,
  more: (typed: string) => Promise<readonly string[]> = async () => [],
) => {
  const index = searchIndex(db)
  // A page and its total are read with one filter: it is looked up once.
  const known = new WeakMap<F, Promise<Narrowed<F>>>()

  const lookUp = async (filter: F): Promise<Narrowed<F>> => {
    if (filter.search === undefined || filter.search.trim() === "") return { filter, isMany: false }
    const [found, others] = await Promise.all([index.narrow(kind, filter.search, searchedTotal), more(filter.search)])
    if (typeof found === "string") return { filter, isMany: found === "many" }
    const ids = new Set([...found, ...others])
    const both = filter.ids === undefined ? [...ids] : filter.ids.filter((id) => ids.has(id))
    return { filter: { ...filter, search: undefined, ids: both }, isMany: false }
  }

  const narrowed = (filter: F): Promise<Narrowed<F>> => {
    const resolved = known.get(filter) ?? lookUp(filter)
    known.set(filter, resolved)
    return resolved
  }

  return {
    narrow: async (filter: F): Promise<F> => (await narrowed(filter)).filter,

    /**
     * @param countAll exact, of a filter without text
     * @param countSome goes no further than `searchedTotal`
     */
    async total(
      filter: F,
      countAll: (filter: F) => Promise<number>,
      countSome: (filter: F, most: number) => Promise<number>,
    ): Promise<number> {
      const { filter: resolved, isMany } = await narrowed(filter)
      const { search = "", ...rest } = resolved
      if (search.trim() === "") return await countAll(resolved)
      const hasOnlyText = Object.values(rest).every((value) => value === undefined)
      return isMany && hasOnlyText ? searchedTotal : await countSome(resolved, searchedTotal)
    },
  }
}
