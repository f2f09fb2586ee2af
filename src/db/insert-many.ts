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
  const values = columns.map((_, nth) => `value ->> ${nth}`).join(", ")
  // Without a condition "on conflict" would be taken for that of a join.
  return sql`select ${sql.raw(values)} from json_each(${rows}) where true`
}

/** A value as it is said in JSON. */
export const asJson = (column: SQLiteColumn, value: unknown): unknown => {
  if (value === null || value === undefined) return null
  const encoded = column.mapToDriverValue(value)
  // Half of a pair that something was cut in the middle of: PostgreSQL refuses its escape.
  return typeof encoded === "string" ? encoded.toWellFormed() : encoded
}

/** PostgreSQL takes rows by the names of their values, where a missing one is NULL; SQLite finds them sooner by their place. */
export const rowAsJson = (table: SQLiteTable, values: readonly unknown[]): unknown => {
  if (!is(table, PgTable)) return values
  const named: Record<string, unknown> = {}
  for (const [nth, value] of values.entries()) if (value !== null) named[`c${nth}`] = value
  return named
}

export const rowsAsJson = <T extends SQLiteTable>(table: T, rows: readonly T["$inferInsert"][]): string => {
  const columns = columnsOf(table)
  return JSON.stringify(
    rows.map((row) => {
      const given = row as Readonly<Record<string, unknown>>
      return rowAsJson(
        table,
        columns.map(([key, column]) => asJson(column, given[key] ?? column.default)),
      )
    }),
  )
}
