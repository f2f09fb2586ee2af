/**
 * The triggers that count rows, and counting from scratch. A trigger appends to `row_changes` what a write changed, once for all
 * combinations; row-count-folding.ts adds it to the counters later, and readers take the sum of both. Were the triggers to change the
 * counters themselves, PostgreSQL's writers would wait for each other and deadlock where they come in another order, and SQLite's only
 * one would change a counter for every row and combination.
 */
import { createHash } from "node:crypto"
import { type TableName, tableNames } from "./counted-lists"
import type { DbHandle, SchemaConnection } from "./db"
import {
  addToCounters,
  append,
  combinationsOn,
  counterColumns,
  type Dialect,
  foldFunction,
  keptOf,
  sumsBy,
  valuesOf,
  watchedOf,
} from "./row-count-sql"

const sqliteTriggers = (table: TableName): string[] => {
  const trigger = (event: string, on: string, ...changes: string[]) =>
    `create trigger row_counts_${table}_${event} after ${on} begin
      ${changes.map((change) => append(table, change)).join("\n")} end`
  const changeOf = (row: "new." | "old.") =>
    `values ('${table}', ${row === "new." ? 1 : -1}, ${valuesOf(table, "sqlite", row).join(", ")})`
  const watched = watchedOf(table)
  return [
    trigger("insert", `insert on ${table}`, changeOf("new.")),
    trigger("delete", `delete on ${table}`, changeOf("old.")),
    trigger(
      "update",
      `update of ${watched.join(", ")} on ${table}
        when ${watched.map((column) => `old.${column} is not new.${column}`).join(" or ")}`,
      changeOf("old."),
      changeOf("new."),
    ),
  ]
}

const postgresTriggers = (table: TableName): string[] => {
  const kept = keptOf(table)
  const values = valuesOf(table, "postgres")
  // With the rights of its owner: whoever may change a counted table needs none on the counters.
  const trigger = (event: string, transition: string, change: string): string[] => [
    `create or replace function row_counts_${table}_${event}() returns trigger language plpgsql
      security definer set search_path from current as $$ begin ${append(table, change)} return null; end; $$`,
    `create trigger row_counts_${table}_${event} after ${event} on ${table} referencing ${transition}
      for each statement execute function row_counts_${table}_${event}()`,
  ]
  const named = values.map((value, place) => `${value} as ${kept[place]}`)
  return [
    ...trigger("insert", "new table as new_rows", `select '${table}', 1, ${values.join(", ")} from new_rows`),
    ...trigger("delete", "old table as old_rows", `select '${table}', -1, ${values.join(", ")} from old_rows`),
    // Most updates change nothing that is counted, and leave nothing here. A join of old and new rows takes seconds where there are
    // thousands: PostgreSQL does not know that there are.
    ...trigger(
      "update",
      "old table as old_rows new table as new_rows",
      `select '${table}', sum(n), ${kept.join(", ")} from (
        select 1 as n, ${named.join(", ")} from new_rows union all select -1, ${values.join(", ")} from old_rows
      ) c group by ${kept.join(", ")} having sum(n) <> 0`,
    ),
    // One order for everybody: two servers that both add to the same counters must not wait for each other. A function, and made with
    // the triggers: a server of an older version knows another definition.
    `create or replace function ${foldFunction(table)}(most bigint) returns bigint language plpgsql set search_path from current as $$
      declare folded bigint;
      begin
        with taken as (
          delete from row_changes where id = any (array(
            select id from row_changes where source = '${table}' order by id limit most for update skip locked
          )) returning *
        ), added as (${addToCounters(
          `select * from (${combinationsOn(table)
            .map((combination) => sumsBy(combination, "taken"))
            .join(" union all ")}) s order by ${counterColumns.join(", ")}`,
        )})
        select count(*) into folded from taken;
        return folded;
      end; $$`,
  ]
}

/** What counts the rows of a table. */
const triggersOf: Readonly<Record<Dialect, (table: TableName) => string[]>> = {
  sqlite: sqliteTriggers,
  postgres: postgresTriggers,
}

const recount = (table: TableName, dialect: Dialect): string[] => {
  const kept = keptOf(table)
  const rows = valuesOf(table, dialect).map((value, place) => `${value} as ${kept[place]}`)
  return [
    `delete from row_changes where source = '${table}'`,
    ...combinationsOn(table).flatMap((combination) => [
      `delete from row_counts where list = '${combination.key}'`,
      addToCounters(sumsBy(combination, `(select 1 as n, ${rows.join(", ")} from ${table}) r`)),
    ]),
  ]
}

const digestOf = (table: TableName, dialect: Dialect): string =>
  createHash("sha256")
    .update([...triggersOf[dialect](table), ...recount(table, dialect)].join("\n"))
    .digest("hex")

const mark = (table: TableName): string => `row_counts:${table}`

const triggersIn = async (
  connection: SchemaConnection,
  dialect: Dialect,
): Promise<{ name: string; table: string }[]> => {
  const rows = await connection.all(
    dialect === "sqlite"
      ? "select name, tbl_name as table_name from sqlite_schema where type = 'trigger' and name like 'row\\_counts\\_%' escape '\\'"
      : "select tgname as name, tgrelid::regclass::text as table_name from pg_trigger where not tgisinternal and tgname like 'row\\_counts\\_%'",
  )
  return rows.map((row) => ({ name: String(row.name), table: String(row.table_name) }))
}

const dropTriggers = async (connection: SchemaConnection, dialect: Dialect, only?: string): Promise<void> => {
  for (const { name, table } of await triggersIn(connection, dialect)) {
    if (only !== undefined && table !== only) continue
    await connection.run(dialect === "sqlite" ? `drop trigger ${name}` : `drop trigger ${name} on ${table}`)
  }
}

const hasTable = async (connection: SchemaConnection, dialect: Dialect, name: string): Promise<boolean> => {
  const found = await connection.all(
    dialect === "sqlite"
      ? "select 1 from sqlite_schema where type = 'table' and name = ?"
      : "select 1 where to_regclass(?) is not null",
    [name],
  )
  return found.length > 0
}

/**
 * Before a migration: nothing counts while it runs, since a rebuilt table loses its triggers half-way and SQLite refuses to rename
 * one while a trigger names what is not there. `ensureRowCounts` counts afresh.
 */
export const stopCounting = async (connection: SchemaConnection, dialect: Dialect): Promise<void> => {
  await dropTriggers(connection, dialect)
  if (!(await hasTable(connection, dialect, "settings"))) return
  for (const table of tableNames) await connection.all("delete from settings where name = ?", [mark(table)])
}

/**
 * Makes the triggers and counts what is there, table by table, where that was not done or was done for another definition. Any
 * number of servers may call it at once. A million rows take some seconds, during which PostgreSQL lets nobody write to the table.
 */
export const ensureRowCounts = async (db: DbHandle): Promise<void> => {
  const { dialect } = db
  const isCurrent = async (connection: SchemaConnection, table: TableName): Promise<boolean> => {
    const [row] = await connection.all("select value from settings where name = ?", [mark(table)])
    return row?.value === digestOf(table, dialect)
  }
  const stale = await db.changeSchema(async (connection) => {
    const found: TableName[] = []
    for (const table of tableNames) if (!(await isCurrent(connection, table))) found.push(table)
    return found
  })
  const now = dialect === "sqlite" ? "cast(unixepoch('subsec') * 1000 as integer)" : "now()"
  // A transaction each: holding one table's lock while waiting for another's could deadlock with a server at work.
  for (const table of stale) {
    await db.changeSchema(
      async (connection) => {
        if (await isCurrent(connection, table)) return
        // Writers that are at it have appended their changes by then, and nobody appends any.
        if (dialect === "postgres") await connection.run(`lock table ${table} in share row exclusive mode`)
        await dropTriggers(connection, dialect, table)
        for (const statement of [...triggersOf[dialect](table), ...recount(table, dialect)])
          await connection.run(statement)
        await connection.all(
          `insert into settings (name, value, updated_at) values (?, ?, ${now})
          on conflict (name) do update set value = excluded.value, updated_at = excluded.updated_at`,
          [mark(table), digestOf(table, dialect)],
        )
      },
      { keepsReferences: true },
    )
  }
}

/** Changes with every definition: for whoever keeps migrated databases. */
export const rowCountsDigest = (dialect: Dialect): string =>
  tableNames.map((table) => digestOf(table, dialect)).join(" ")
