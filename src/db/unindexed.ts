/** Keeps a condition from choosing the index. */
import { type SQL, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"

/**
 * A text column as a value that no index knows. SQLite has no statistics here and takes every equality for equally narrow: asked for the
 * open jobs of three certificates, it would read all jobs of a type. Write conditions that are wide with this, and leave the narrow one
 * to the index. A partial index whose predicate is worded with it is recognised by the same words in a query, and by nothing else.
 */
export const unindexed = (column: SQLiteColumn): SQL<string> => sql<string>`(${column} || '')`
