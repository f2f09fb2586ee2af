/** Conditions that many lists share: free text, and where a cursor page begins. */
import { or, type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"

/**
 * Rows with `text` anywhere in one of the columns, ignoring case. `%` and `_` of what was typed are ordinary characters.
 * undefined, which filters nothing, when there is no text.
 */
export const containsText = (text: string | undefined, columns: readonly SQLiteColumn[]): SQL | undefined => {
  // PostgreSQL refuses NUL in any text, and none is stored.
  const typed = (text ?? "").replaceAll("\0", "").trim()
  if (typed === "") return undefined
  const pattern = `%${typed.replace(/[\\%_]/g, "\\$&")}%`
  return or(...columns.map((column) => sql`lower(${column}) like lower(${pattern}) escape '\\'`))
}

/** Rows after one in a list that is ordered by time and id, newest first. */
export const olderThan = (
  after: { readonly createdAt: Date; readonly id: string } | null,
  time: SQLiteColumn,
  id: SQLiteColumn,
  isInOrder = true,
): SQL | undefined =>
  after === null
    ? undefined
    : sql`(${isInOrder ? time : sql`+${time}`}, ${id}) < (${sql.param(after.createdAt, time)}, ${after.id})`
