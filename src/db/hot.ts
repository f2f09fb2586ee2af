/** Prepared queries for the few paths where building the SQL costs more than running it. Say the measurement where you use it. */

import { getTableColumns, is, type SQL, sql } from "drizzle-orm"
import { PgTable } from "drizzle-orm/pg-core"
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core"
import type { Query, Tx } from "./db"
import { hasJsonRows, rowsAsJson, selectJsonRows } from "./insert-many"

interface Preparable<R> {
  prepare(name?: string): { execute(values?: Record<string, unknown>): Promise<R> }
}

/**
 * Builds the query once per handle (SQLite has one reader and one writer, PostgreSQL one handle per connection) and runs it with
 * the values of its `sql.placeholder()`s. `name` makes PostgreSQL prepare it on the server, where it soon keeps one plan, made for what
 * its tables held at that moment; null has it planned each time, for lists of ids (given-ids.ts): they would be read from end to end
 * for minutes after the first thousands of rows came into a new database.
 *
 * @example
 * const byId = hot("certificate_by_id", (q: Query) => q.select().from(t.certificates).where(eq(t.certificates.id, sql.placeholder("id"))))
 * const rows = await byId(db.read, { id })
 */
export const hot = <H extends Query, R>(name: string | null, build: (handle: H) => Preparable<R>) => {
  const prepared = new WeakMap<H, ReturnType<Preparable<R>["prepare"]>>()
  return (handle: H, values?: Record<string, unknown>): Promise<R> => {
    let query = prepared.get(handle)
    if (query === undefined) {
      query = build(handle).prepare(name ?? undefined)
      prepared.set(handle, query)
    }
    return query.execute(values)
  }
}

/**
 * Rows of one INSERT with a parameter for each value; more are sent in JSON. PostgreSQL and its client take longer for each parameter
 * than SQLite, for which there is no difference as long as the text is kept.
 */
const mostKept = (table: SQLiteTable): number => (is(table, PgTable) ? 8 : 50)

/** Columns of each row that a statement answers with. */
type Answered = Record<string, SQLiteColumn>

const allOf = (table: SQLiteTable): Answered => getTableColumns(table) as Answered

/** `answered` null: nothing is answered, and a row that exists makes the statement fail. */
const insertAnswering = <T extends SQLiteTable, R>(name: string, table: T, answered: Answered | null) => {
  type Row = T["$inferInsert"]
  const columns = Object.entries(getTableColumns(table))
  const places: string[][] = []
  /** Names of a row's placeholders, in the order of the columns. */
  const placesOf = (row: number): string[] => {
    const known = places[row] ?? columns.map(([key]) => `${key}_${row}`)
    places[row] = known
    return known
  }
  const inserting = (tx: Tx, rows: readonly Row[]) => {
    const statement = tx.insert(table).values([...rows])
    return answered === null ? statement : statement.onConflictDoNothing().returning(answered)
  }
  const insertingMany = hot<Tx, unknown>(`${name}_many`, (tx: Tx) => {
    const statement = tx.insert(table).select(selectJsonRows(table))
    return answered === null ? statement : statement.onConflictDoNothing().returning(answered)
  })
  const isJson = hasJsonRows(table)
  const most = mostKept(table)
  const prepared = new Map<number, ReturnType<typeof hot<Tx, unknown>>>()
  const queryFor = (count: number) => {
    const known = prepared.get(count)
    if (known !== undefined) return known
    // Encoded here: a placeholder with the column's own encoder could not take null.
    const rows = Array.from({ length: count }, (_, row) => {
      const names = placesOf(row)
      return Object.fromEntries(columns.map(([key], at) => [key, sql`${sql.placeholder(names[at] ?? "")}`]))
    })
    const query = hot(`${name}_${count}`, (tx: Tx) => inserting(tx, rows as Row[]))
    prepared.set(count, query)
    return query
  }
  return async (tx: Tx, rows: readonly Row[]): Promise<R[]> => {
    if (rows.length === 0) return []
    if (rows.length > most) {
      return (await (isJson ? insertingMany(tx, { rows: rowsAsJson(table, rows) }) : inserting(tx, rows))) as R[]
    }
    const values: Record<string, unknown> = {}
    for (const [at, row] of rows.entries()) {
      const given = row as Readonly<Record<string, unknown>>
      const names = placesOf(at)
      for (const [nth, [key, column]] of columns.entries()) {
        const value = given[key] ?? column.default ?? null
        values[names[nth] ?? ""] = value === null ? null : column.mapToDriverValue(value)
      }
    }
    return (await queryFor(rows.length)(tx, values)) as R[]
  }
}

/**
 * Inserts rows with every column of the table, prepared once for each number of rows; answers with those that were stored: not with
 * those that a row that exists is in the way of. Building an INSERT of twenty columns takes a tenth of a millisecond for each row, five
 * times as long as SQLite takes for it.
 */
export const hotInsert = <T extends SQLiteTable>(name: string, table: T) =>
  insertAnswering<T, T["$inferSelect"]>(name, table, allOf(table))

/** `hotInsert` for those who need to know only how many were stored: reading twenty columns back takes as long as an index more. */
export const hotInsertCount = <T extends SQLiteTable>(name: string, table: T, counted: SQLiteColumn) => {
  const insert = insertAnswering<T, object>(name, table, { counted })
  return async (tx: Tx, rows: readonly T["$inferInsert"][]): Promise<number> => (await insert(tx, rows)).length
}

/** Inserts rows of which none may exist: it fails where one does, and nothing has to be looked at afterwards. */
export const hotInsertNew = <T extends SQLiteTable>(name: string, table: T) => {
  const insert = insertAnswering<T, never>(name, table, null)
  return async (tx: Tx, rows: readonly T["$inferInsert"][]): Promise<void> => void (await insert(tx, rows))
}

/** `hotInsert` for those who know the rows themselves: the ids of those that were stored. */
export const hotInsertIds = <T extends SQLiteTable>(name: string, table: T, id: SQLiteColumn) => {
  const insert = insertAnswering<T, { id: string }>(name, table, { id })
  return async (tx: Tx, rows: readonly T["$inferInsert"][]): Promise<string[]> =>
    (await insert(tx, rows)).map((row) => row.id)
}

const updateAnswering = <T extends SQLiteTable, R>(
  name: string | null,
  table: T,
  where: SQL | undefined,
  answered: Answered,
) => {
  const columns = new Map(Object.entries(getTableColumns(table)))
  const prepared = new Map<string, ReturnType<typeof hot<Tx, unknown>>>()
  const place = (key: string): string => `set_${key}`
  const queryFor = (keys: readonly string[]) => {
    const signature = keys.join(" ")
    const known = prepared.get(signature)
    if (known !== undefined) return known
    const places = Object.fromEntries(keys.map((key) => [key, sql`${sql.placeholder(place(key))}`]))
    const query = hot(name === null ? null : `${name}_${prepared.size}`, (tx: Tx) =>
      tx
        .update(table)
        .set(places as Parameters<ReturnType<typeof tx.update<T>>["set"]>[0])
        .where(where)
        .returning(answered),
    )
    prepared.set(signature, query)
    return query
  }
  return async (tx: Tx, set: Partial<T["$inferInsert"]>, values: Readonly<Record<string, unknown>>): Promise<R[]> => {
    const given = Object.entries(set).filter(([, value]) => value !== undefined)
    const encoded = given.map(([key, value]) => [
      place(key),
      value === null ? null : columns.get(key)?.mapToDriverValue(value),
    ])
    const query = queryFor(given.map(([key]) => key))
    return (await query(tx, { ...values, ...Object.fromEntries(encoded) })) as R[]
  }
}

/**
 * Changes the rows of a condition, prepared once for each set of columns that is ever given; answers with the rows as they are then.
 * `where` has placeholders for the values of the condition.
 */
export const hotUpdate = <T extends SQLiteTable>(name: string, table: T, where: SQL | undefined) =>
  updateAnswering<T, T["$inferSelect"]>(name, table, where, allOf(table))

/** `hotUpdate` for those who need to know only how many were changed. */
export const hotUpdateCount = <T extends SQLiteTable>(
  name: string | null,
  table: T,
  where: SQL | undefined,
  counted: SQLiteColumn,
) => {
  const update = updateAnswering<T, object>(name, table, where, { counted })
  return async (...given: Parameters<typeof update>): Promise<number> => (await update(...given)).length
}
