/**
 * The column kit: every table is defined once against it and built for SQLite and for PostgreSQL.
 * The SQLite kit gives the TypeScript types; the PostgreSQL kit is cast to the same type, so a store is written and
 * type-checked once. JSON is text on both dialects because postgres.js encodes jsonb twice.
 */
import * as p from "drizzle-orm/pg-core"
import * as s from "drizzle-orm/sqlite-core"

export const sqliteKit = {
  table: s.sqliteTable,
  index: s.index,
  uniqueIndex: s.uniqueIndex,
  unique: s.unique,
  check: s.check,
  primaryKey: s.primaryKey,
  text: (name: string) => s.text(name),
  int: (name: string) => s.integer(name),
  /** A primary key that the database gives: numbers that grow, on SQLite from 1 again where the table was emptied. */
  rowNumber: (name: string) => s.integer(name).primaryKey(),
  bool: (name: string) => s.integer(name, { mode: "boolean" }),
  /** UTC with milliseconds on both dialects. */
  time: (name: string) => s.integer(name, { mode: "timestamp_ms" }),
  json: <T>(name: string) => s.text(name, { mode: "json" }).$type<T>(),
  blob: (name: string) => s.blob(name, { mode: "buffer" }),
  oneOf: <U extends string, T extends Readonly<[U, ...U[]]>>(name: string, values: T) => s.text(name, { enum: values }),
}

export type Kit = typeof sqliteKit

const bytea = p.customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => "bytea" })

const jsonText = p.customType<{ data: unknown; driverData: string }>({
  dataType: () => "text",
  toDriver: (value) => JSON.stringify(value),
  fromDriver: (text) => JSON.parse(text),
})

export const postgresKit = {
  table: p.pgTable,
  index: p.index,
  uniqueIndex: p.uniqueIndex,
  unique: p.unique,
  check: p.check,
  primaryKey: p.primaryKey,
  text: (name: string) => p.text(name),
  int: (name: string) => p.bigint(name, { mode: "number" }),
  rowNumber: (name: string) => p.bigint(name, { mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
  bool: (name: string) => p.boolean(name),
  time: (name: string) => p.timestamp(name, { withTimezone: true, precision: 3, mode: "date" }),
  json: (name: string) => jsonText(name),
  blob: (name: string) => bytea(name),
  oneOf: (name: string, values: readonly [string, ...string[]]) =>
    p.text(name, { enum: values as [string, ...string[]] }),
} as unknown as Kit
