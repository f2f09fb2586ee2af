/** UPDATE of several rows, each to values of its own, which are one parameter in JSON: the same text for any number of rows. */
import { and, eq, getTableColumns, is, type SQL, sql } from "drizzle-orm"
import { PgTable } from "drizzle-orm/pg-core"
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core"
import type { Tx } from "./db"
import { hot } from "./hot"
import { asJson, rowAsJson } from "./insert-many"

export interface RowUpdate<
  T extends SQLiteTable,
  S extends keyof T["$inferSelect"],
  W extends keyof T["$inferSelect"],
> {
  readonly id: string
  readonly set: Pick<T["$inferSelect"], S>
  /** What the row must still be to be changed; never null. */
  readonly seen: Pick<T["$inferSelect"], W>
}

/**
 * Changes the columns `set` of rows that are as they were `seen`; answers how many were. No index is chosen by what was seen: the id
 * is all that is looked up.
 */
export const updateEach = <
  T extends SQLiteTable & Record<"id", SQLiteColumn>,
  S extends keyof T["$inferSelect"] & string,
  W extends keyof T["$inferSelect"] & string,
>(
  table: T,
  { set, seen }: { readonly set: readonly S[]; readonly seen: readonly W[] },
) => {
  const columns = getTableColumns(table) as Record<string, SQLiteColumn>
  const columnOf = (key: string): SQLiteColumn => {
    const column = columns[key]
    if (column === undefined) throw new Error(`the table has no column ${key}`)
    return column
  }
  const isPostgres = is(table, PgTable)
  const keys = ["id", ...set, ...seen]
  const named = keys.map((key, nth) => ({ column: columnOf(key), name: `c${nth}` }))
  const given = (nth: number) => sql.raw(`given.c${nth}`)
  const rows = sql.placeholder("rows")
  const source: SQL = isPostgres
    ? sql`json_to_recordset(${rows}::text::json) as given(${sql.raw(named.map(({ column, name }) => `${name} ${column.getSQLType()}`).join(", "))})`
    : sql`(select ${sql.raw(named.map(({ name }, nth) => `value ->> ${nth} as ${name}`).join(", "))} from json_each(${rows})) as given`
  // An expression, so that SQLite, which takes every equality for equally narrow, looks up the id.
  const asSeen = seen.map((key, nth) => sql`${sql`(${columnOf(key)} || '')`} = (${given(1 + set.length + nth)} || '')`)
  const query = hot(null, (tx: Tx) =>
    tx
      .update(table)
      .set(
        Object.fromEntries(set.map((key, nth) => [key, given(1 + nth)])) as Parameters<
          ReturnType<typeof tx.update<T>>["set"]
        >[0],
      )
      .from(source)
      .where(and(eq(table.id, given(0)), ...asSeen))
      .returning({ changed: table.id }),
  )
  return async (tx: Tx, changes: readonly RowUpdate<T, S, W>[]): Promise<number> => {
    if (changes.length === 0) return 0
    const json = changes.map((change) => {
      const values = [
        change.id,
        ...set.map((key) => change.set[key]),
        ...seen.map((key) => change.seen[key]),
      ] as unknown[]
      return rowAsJson(
        table,
        named.map(({ column }, nth) => asJson(column, values[nth])),
      )
    })
    return (await query(tx, { rows: JSON.stringify(json) })).length
  }
}
