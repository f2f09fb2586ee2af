/** Prepared queries for the few paths where building the SQL costs more than running it. Say the measurement where you use it. */

import { getTableColumns, type SQL, sql } from "drizzle-orm"
import type { SQLiteTable } from "drizzle-orm/sqlite-core"
import type { Query, Tx } from "./db"

interface Preparable<R> {
  prepare(name?: string): { execute(values?: Record<string, unknown>): Promise<R> }
}

/**
 * Builds the query once per handle (SQLite has one reader and one writer, PostgreSQL one handle per connection) and runs it with
 * the values of its `sql.placeholder()`s. `name` makes PostgreSQL prepare it on the server.
 *
 * @example
 * const byId = hot("certificate_by_id", (q: Query) => q.select().from(t.certificates).where(eq(t.certificates.id, sql.placeholder("id"))))
 * const rows = await byId(db.read, { id })
 */
export const hot = <H extends Query, R>(name: string, build: (handle: H) => Preparable<R>) => {
  const prepared = new WeakMap<H, ReturnType<Preparable<R>["prepare"]>>()
  return (handle: H, values?: Record<string, unknown>): Promise<R> => {
    let query = prepared.get(handle)
    if (query === undefined) {
      query = build(handle).prepare(name)
      prepared.set(handle, query)
    }
    return query.execute(values)
  }
}

/** Rows of one INSERT whose text is kept. The loops change some tens of rows at a time; bulk work builds its own. */
const mostKept = 50

/**
 * Inserts rows with every column of the table, prepared once for each number of rows; answers with those that were stored: not with
 * those that a row that exists is in the way of. Building an INSERT of twenty columns takes a tenth of a millisecond for each row, five
 * times as long as SQLite takes for it.
 */
export const hotInsert = <T extends SQLiteTable>(name: string, table: T) => {
  type Row = T["$inferInsert"]
  const columns = Object.entries(getTableColumns(table))
  const place = (key: string, row: number): string => `${key}_${row}`
  const prepared = new Map<number, ReturnType<typeof hot<Tx, unknown>>>()
  const queryFor = (count: number) => {
    const known = prepared.get(count)
    if (known !== undefined) return known
    // Encoded here: a placeholder with the column's own encoder could not take null.
    const places = Array.from({ length: count }, (_, row) =>
      Object.fromEntries(columns.map(([key]) => [key, sql`${sql.placeholder(place(key, row))}`])),
    )
    const query = hot(`${name}_${count}`, (tx: Tx) =>
      tx
        .insert(table)
        .values(places as Row[])
        .onConflictDoNothing()
        .returning(),
    )
    prepared.set(count, query)
    return query
  }
  return async (tx: Tx, rows: readonly Row[]): Promise<T["$inferSelect"][]> => {
    if (rows.length === 0) return []
    if (rows.length > mostKept) {
      return (await tx
        .insert(table)
        .values([...rows])
        .onConflictDoNothing()
        .returning()) as T["$inferSelect"][]
    }
    const values: Record<string, unknown> = {}
    for (const [at, row] of rows.entries()) {
      const given = row as Readonly<Record<string, unknown>>
      for (const [key, column] of columns) {
        const value = given[key] ?? column.default ?? null
        values[place(key, at)] = value === null ? null : column.mapToDriverValue(value)
      }
    }
    return (await queryFor(rows.length)(tx, values)) as T["$inferSelect"][]
  }
}

/**
 * Changes the rows of a condition, prepared once for each set of columns that is ever given; answers with the rows as they are then.
 * `where` has placeholders for the values of the condition.
 */
export const hotUpdate = <T extends SQLiteTable>(name: string, table: T, where: SQL | undefined) => {
  const columns = new Map(Object.entries(getTableColumns(table)))
  const prepared = new Map<string, ReturnType<typeof hot<Tx, unknown>>>()
  const place = (key: string): string => `set_${key}`
  const queryFor = (keys: readonly string[]) => {
    const signature = keys.join(" ")
    const known = prepared.get(signature)
    if (known !== undefined) return known
    const places = Object.fromEntries(keys.map((key) => [key, sql`${sql.placeholder(place(key))}`]))
    const query = hot(`${name}_${prepared.size}`, (tx: Tx) =>
      tx
        .update(table)
        .set(places as Parameters<ReturnType<typeof tx.update<T>>["set"]>[0])
        .where(where)
        .returning(),
    )
    prepared.set(signature, query)
    return query
  }
  return async (
    tx: Tx,
    set: Partial<T["$inferInsert"]>,
    values: Readonly<Record<string, unknown>>,
  ): Promise<T["$inferSelect"][]> => {
    const given = Object.entries(set).filter(([, value]) => value !== undefined)
    const encoded = given.map(([key, value]) => [
      place(key),
      value === null ? null : columns.get(key)?.mapToDriverValue(value),
    ])
    const query = queryFor(given.map(([key]) => key))
    return (await query(tx, { ...values, ...Object.fromEntries(encoded) })) as T["$inferSelect"][]
  }
}
