/** Lists: which page was asked for, and the envelope of the answer. */
import * as v from "valibot"
import { documentedLoosely } from "./json-schema"

const defaultPerPage = 50
const mostPerPage = 500

/** A decimal number in range, else the default: a bad page number is never an error. Twelve digits keep the offset exact. */
const tolerant = (fallback: number, most = Number.MAX_SAFE_INTEGER) =>
  v.optional(
    v.pipe(
      v.string(),
      documentedLoosely({ type: "integer", minimum: 1, ...(most < 1e9 ? { maximum: most } : {}) }),
      v.transform((text) => {
        const number = /^\d{1,12}$/.test(text) ? Number(text) : 0
        return number >= 1 && number <= most ? number : fallback
      }),
    ),
    String(fallback),
  )

/** The query entries of every list: `v.object({ status: v.optional(v.string()), ...pageParams })`. */
export const pageParams = { page: tolerant(1), per_page: tolerant(defaultPerPage, mostPerPage) }

export const PageQuery = v.object(pageParams)
export type Page = v.InferOutput<typeof PageQuery>

/** Rows to take and to skip. */
export const rangeOf = ({ page, per_page }: Page) => ({ limit: per_page, offset: (page - 1) * per_page })

/** Schema of a list answer. */
export const listOf = <S extends v.GenericSchema>(row: S) =>
  v.object({
    data: v.array(row),
    total: v.pipe(v.number(), v.integer()),
    page: v.pipe(v.number(), v.integer()),
    per_page: v.pipe(v.number(), v.integer()),
  })

/** `total` counts the rows that match the filters over all pages. */
export const listAnswer = <R>(rows: readonly R[], total: number, { page, per_page }: Page) => ({
  data: [...rows],
  total,
  page,
  per_page,
})

/** The query entries that switch a list to cursor paging. */
export const cursorParams = {
  page_size: v.optional(v.pipe(v.string(), documentedLoosely({ type: "integer", minimum: 1, maximum: mostPerPage }))),
  cursor: v.optional(v.string()),
}

/** The last row of the previous page: lists in cursor mode are ordered by creation time and id, newest first. */
export interface Cursor {
  readonly createdAt: Date
  readonly id: string
}

export const encodeCursor = ({ createdAt, id }: Cursor): string =>
  Buffer.from(`${createdAt.getTime()} ${id}`).toString("base64url")

/** null: not a token of ours, which counts as no token. */
export const decodeCursor = (token: string): Cursor | null => {
  const match = /^(\d{1,15}) (.{1,255})$/s.exec(Buffer.from(token, "base64url").toString())
  return match === null ? null : { createdAt: new Date(Number(match[1])), id: match[2] ?? "" }
}

export interface CursorPage {
  readonly pageSize: number
  readonly after: Cursor | null
}

/** null: neither `cursor` nor `page_size` was given, so the list is in page mode. */
export const cursorPageOf = (query: { page_size?: string; cursor?: string; per_page?: number }): CursorPage | null => {
  if (query.page_size === undefined && query.cursor === undefined) return null
  const size = /^\d{1,3}$/.test(query.page_size ?? "") ? Number(query.page_size) : 0
  return {
    pageSize: size >= 1 && size <= mostPerPage ? size : (query.per_page ?? defaultPerPage),
    after: query.cursor === undefined ? null : decodeCursor(query.cursor),
  }
}

export const cursorListOf = <S extends v.GenericSchema>(row: S) =>
  v.object({
    data: v.array(row),
    total: v.pipe(v.number(), v.integer()),
    next_cursor: v.optional(v.string()),
    page_size: v.pipe(v.number(), v.integer()),
  })

/**
 * The query entries of a list that can be read by page and by cursor, and searched.
 * @param searched the fields in which `q` is looked for, as they are called on the wire
 */
export const listParams = (searched: readonly string[]) => ({
  q: v.optional(v.pipe(v.string(), v.description(`Text in ${searched.join(", ")}; case does not matter`))),
  ...cursorParams,
  ...pageParams,
})

type ListQuery = Page & { page_size?: string; cursor?: string }

/** What a store is to read for a query. In cursor mode one row too many, which tells whether another page follows. */
export const sliceOf = (query: ListQuery) => {
  const page = cursorPageOf(query)
  return page === null ? rangeOf(query) : { limit: page.pageSize + 1, after: page.after }
}

/** Schema of the answer of a list with `listParams`. */
export const pagedListOf = <S extends v.GenericSchema>(row: S) => v.union([listOf(row), cursorListOf(row)])

interface Found<R> {
  readonly rows: readonly R[]
  /** Rows that match the filters, on whatever page. */
  readonly total: number
}

/**
 * The answer of a list with `listParams`, in the mode that was asked for.
 * @param found what was read with `sliceOf` the same query
 */
export const pagedAnswer = <R extends Cursor, W>(
  query: ListQuery,
  { rows, total }: Found<R>,
  shape: (row: R) => W,
): ReturnType<typeof listAnswer<W>> | ReturnType<typeof cursorAnswer<R, W>> => {
  const page = cursorPageOf(query)
  return page === null ? listAnswer(rows.map(shape), total, query) : cursorAnswer(rows, total, page, shape)
}

/** For rows whose birth has another name than `createdAt`. */
export const datedBy = <R extends object>({ rows, total }: Found<R>, timeOf: (row: R) => Date) => ({
  rows: rows.map((row) => ({ ...row, createdAt: timeOf(row) })),
  total,
})

/**
 * @param rows up to `pageSize + 1` rows: the one too many tells that another page follows
 * @param shape one row on the wire
 */
export const cursorAnswer = <R extends Cursor, W>(
  rows: readonly R[],
  total: number,
  { pageSize }: CursorPage,
  shape: (row: R) => W,
) => {
  const shown = rows.slice(0, pageSize)
  const last = shown.at(-1)
  return {
    data: shown.map(shape),
    total,
    ...(rows.length > pageSize && last !== undefined ? { next_cursor: encodeCursor(last) } : {}),
    page_size: pageSize,
  }
}
