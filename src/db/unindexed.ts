/** Keeps a condition from choosing the index. */
import { and, eq, type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import type { Db } from "./db"

/**
 * A text column as a value that no index knows. SQLite has no statistics here and takes every equality for equally narrow: asked for the
 * open jobs of three certificates, it would read all jobs of a type. Write conditions that are wide with this, and leave the narrow one
 * to the index. A partial index whose predicate is worded with it is recognised by the same words in a query, and by nothing else.
 */
export const unindexed = (column: SQLiteColumn): SQL<string> => sql<string>`(${column} || '')`

/**
 * A condition that is looked at in rows which another one has found. PostgreSQL, which hears late how much a partial index holds, would
 * read all of it beside the narrow one.
 */
export const inPassing = (condition: SQL | undefined): SQL => sql`case when ${condition} then 1 end = 1`

/**
 * The equalities of a filter, of which the narrowest is named first; what is not asked for is undefined. PostgreSQL knows how many rows
 * have which value. SQLite gets to see the first alone.
 */
export const equalities = (
  dialect: Db["dialect"],
  narrowestFirst: readonly (readonly [column: SQLiteColumn, value: string | undefined])[],
): SQL | undefined =>
  and(
    ...narrowestFirst
      .filter(([, value]) => value !== undefined)
      .map(([column, value], place) =>
        dialect === "sqlite" && place > 0 ? sql`${unindexed(column)} = ${value}` : eq(column, value),
      ),
  )
