/** A condition on a list of ids that is one parameter: the text of the query is the same for any number of them. */
import { type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db } from "./db"

/**
 * `column in (…)` for `hot(null, …)`; run it with `[name]: idList(ids)`. Written out, every length is a query of its own, and building
 * that took longer than the reading itself.
 */
export const inGiven = (dialect: Db["dialect"], column: SQLiteColumn, name: string): SQL =>
  dialect === "sqlite"
    ? sql`${column} in (select value from json_each(${sql.placeholder(name)}))`
    : sql`${column} = any(array(select json_array_elements_text(${sql.placeholder(name)}::text::json)))`

export const idList = (ids: readonly string[]): string => JSON.stringify(ids)
