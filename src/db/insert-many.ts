/** INSERT whose rows are one parameter, in JSON: the same text and plan for any number of them. */
import { getTableColumns, is, type SQL, sql } from "drizzle-orm"
import { PgTable } from "drizzle-orm/pg-core"
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core"

const columnsOf = (table: SQLiteTable): [key: string, column: SQLiteColumn][] =>
  Object.entries(getTableColumns(table)) as [string, SQLiteColumn][]

/** Whether all columns of the table can be said in JSON: bytes cannot. */
export const hasJsonRows = (table: SQLiteTable): boolean =>
  columnsOf(table).every(([, column]) => !/blob|bytea/.test(column.getSQLType()))

/** A query that gives the rows back, every column of the table in its order; `rowsAsJson` is the value of its placeholder `rows`. */
export const selectJsonRows = (table: SQLiteTable): SQL => {
  const columns = columnsOf(table).map(([, column]) => column)
  const rows = sql.placeholder("rows")
  if (is(table, PgTable)) {
    const typed = columns.map((column, nth) => `c${nth} ${column.getSQLType()}`).join(", ")
    const names = columns.map((_, nth) => `c${nth}`).join(", ")
    return sql`select ${sql.raw(names)} from json_to_recordset(${rows}::text::json) as given(${sql.raw(typed)})`
  }
  const values = columns.map((_, nth) => `value ->> '$.c${nth}'`).join(", ")
  // Without a condition "on conflict" would be taken for that of a join.
  return sql`select ${sql.raw(values)} from json_each(${rows}) where true`
}

export const rowsAsJson = <T extends SQLiteTable>(table: T, rows: readonly T["$inferInsert"][]): string => {
  const columns = columnsOf(table)
  return JSON.stringify(
    rows.map((row) => {
      const given = row as Readonly<Record<string, unknown>>
      const values: Record<string, unknown> = {}
      for (let nth = 0; nth < columns.length; nth += 1) {
        const [key, column] = columns[nth] ?? []
        if (key === undefined || column === undefined) continue
        const value = given[key] ?? column.default ?? null
        // A missing name is NULL to both databases.
        if (value === null) continue
        const encoded = column.mapToDriverValue(value)
        // Half of a pair that something was cut in the middle of: PostgreSQL refuses its escape.
        values[`c${nth}`] = typeof encoded === "string" ? encoded.toWellFormed() : encoded
      }
      return values
    }),
  )
}
