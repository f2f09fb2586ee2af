/**
 * How every list is read: by page in the list's own order, or from after a row on, newest first, which stays cheap on the
 * thousandth page and misses nothing while rows are added. A store declares its columns once.
 */
import { and, desc, or, type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"

/** The last row of the previous page. */
interface Position {
  readonly createdAt: Date
  readonly id: string
}

/** Which rows of a list: some of its own order, or those that follow a row (null: from the newest on). */
export type Slice =
  | { readonly limit: number; readonly offset: number }
  | { readonly limit: number; readonly after: Position | null }

/** The filter of a list that has no other. */
export interface TextFilter {
  /** Text in one of the list's searched columns, ignoring case. */
  readonly search?: string | undefined
}

/** A query that still lacks its conditions, order and range. */
interface Unfinished<R> {
  where(condition: SQL | undefined): {
    orderBy(...order: SQL[]): { limit(rows: number): { offset(rows: number): PromiseLike<R> } }
  }
}

interface ListColumns {
  readonly id: SQLiteColumn
  /** When a row came into being. With `id` behind it, it has an index in tables that grow. */
  readonly time: SQLiteColumn
  /** Where free text is looked for. */
  readonly text: readonly SQLiteColumn[]
  /** Of the pages by number, where that is not newest first. */
  readonly order?: readonly SQL[]
}

/** For SQLite: a column that no index is read in the order of, so that a condition finds the rows and they are sorted then. */
export const unordered = (column: SQLiteColumn): SQL => sql`+${column}`

/**
 * Rows with `text` anywhere in one of the columns, ignoring case. `%` and `_` of what was typed are ordinary characters.
 * undefined, which filters nothing, when there is no text.
 */
const containsText = (text: string | undefined, columns: readonly SQLiteColumn[]): SQL | undefined => {
  // PostgreSQL refuses NUL in any text, and none is stored.
  const typed = (text ?? "").replaceAll("\0", "").trim()
  if (typed === "") return undefined
  const pattern = `%${typed.replace(/[\\%_]/g, "\\$&")}%`
  return or(...columns.map((column) => sql`lower(${column}) like lower(${pattern}) escape '\\'`))
}

/** Rows after one in a list that is ordered by time and id, newest first. */
const olderThan = (after: Position | null, time: SQLiteColumn, id: SQLiteColumn, isInOrder = true): SQL | undefined =>
  after === null
    ? undefined
    : sql`(${isInOrder ? time : unordered(time)}, ${id}) < (${sql.param(after.createdAt, time)}, ${after.id})`

export const listing = ({ id, time, text, order }: ListColumns) => {
  const newestFirst = [desc(time), desc(id)]
  return {
    matches: (search: string | undefined): SQL | undefined => containsText(search, text),

    /**
     * @param rows as `select().from(table)` makes it
     * @param sorted the order of the pages by number, where somebody chose one
     * @param isInOrder false: `where` finds few rows, and SQLite is not to look for them in the order of the list
     */
    async read<R>(
      rows: Unfinished<R>,
      where: SQL | undefined,
      slice: Slice,
      sorted?: readonly SQL[],
      isInOrder = true,
    ): Promise<R> {
      if ("offset" in slice) {
        const ordered = rows.where(where).orderBy(...(sorted ?? order ?? newestFirst))
        return await ordered.limit(slice.limit).offset(slice.offset)
      }
      const following = and(where, olderThan(slice.after, time, id, isInOrder))
      return await rows
        .where(following)
        .orderBy(...(isInOrder ? newestFirst : [desc(unordered(time)), desc(id)]))
        .limit(slice.limit)
        .offset(0)
    },
  }
}
