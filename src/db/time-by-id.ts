/** Gives several rows a time each in one statement. */
import { type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"

/**
 * For `set`, in an update that is limited to the ids of `times`. The cast tells PostgreSQL the type of what it knows as a parameter;
 * on SQLite it leaves the number as it is.
 */
export const timeById = (
  id: SQLiteColumn,
  column: SQLiteColumn,
  times: readonly (readonly [id: string, time: Date | null])[],
): SQL<Date> => {
  const branches = times.map(
    ([key, time]) => sql`when ${key} then cast(${time === null ? sql`null` : sql.param(time, column)} as timestamptz)`,
  )
  return sql<Date>`case ${id} ${sql.join(branches, sql` `)} end`
}
