/**
 * The triggers that count rows, and counting from scratch. On SQLite, with its one writer, a trigger adds to the number in place.
 * On PostgreSQL that would make every writer wait for the one before and deadlock those that come in another order: there each
 * statement appends what it changed as rows of its own, which `foldRowCounts` adds up later; readers take the sum of both.
 */
import { createHash } from "node:crypto"
import { type Combination, combinationsOf, countedLists, type ListName } from "./counted-lists"
import type { DbHandle, SchemaConnection } from "./db"

type Dialect = DbHandle["dialect"]

const places = ["d1", "d2", "d3", "d4", "d5", "d6"] as const
const keyColumns = ["list", "day", ...places, "part"]
const allColumns = [...keyColumns, "n"].join(", ")

const names = Object.keys(countedLists) as ListName[]
const tables = [...new Set(names.map((name) => countedLists[name].table))]
const combinationsOn = (table: string): Combination[] =>
  names.filter((name) => countedLists[name].table === table).flatMap(combinationsOf)

/** Rounds down, also before 1970. */
const dayIn: Readonly<Record<Dialect, (column: string) => string>> = {
  sqlite: (column) => `(${column} - ((${column} % 86400000) + 86400000) % 86400000) / 86400000`,
  postgres: (column) => `floor(extract(epoch from ${column}) / 86400)::bigint`,
}
const missing: Readonly<Record<Dialect, string>> = { sqlite: "char(1)", postgres: "chr(1)" }

/** Values of list, day and d1 to d6 for one row; `row` is `new.`, `old.` or nothing. */
const groupOf = ({ key, columns, day }: Combination, dialect: Dialect, row = ""): string[] => [
  `'${key}'`,
  day === undefined ? "0" : dayIn[dialect](`${row}${day}`),
  ...places.map((_, place) => {
    const column = columns[place]
    return column === undefined ? "''" : `coalesce(${row}${column}, ${missing[dialect]})`
  }),
]

const sqliteTriggers = (table: string): string[] =>
  combinationsOn(table).flatMap((combination) => {
    const { key, columns, day } = combination
    const increase = `insert into row_counts (${allColumns}) select ${groupOf(combination, "sqlite", "new.").join(", ")}, 0, 1
      where ${day === undefined ? "true" : `new.${day} is not null`}
      on conflict (${keyColumns.join(", ")}) do update set n = n + 1;`
    // A row without the day is in no group: the comparison with NULL finds none.
    const decrease = `update row_counts set n = n - 1 where ${groupOf(combination, "sqlite", "old.")
      .map((value, place) => `${keyColumns[place]} = ${value}`)
      .join(" and ")} and part = 0;`
    const watched = [...columns, ...(day === undefined ? [] : [day])]
    const trigger = (event: string, on: string, ...statements: string[]) =>
      `create trigger row_counts_${key}_${event} after ${on} begin ${statements.join(" ")} end`
    return [
      trigger("insert", `insert on ${table}`, increase),
      trigger("delete", `delete on ${table}`, decrease),
      ...(watched.length === 0
        ? []
        : [
            trigger(
              "update",
              `update of ${watched.join(", ")} on ${table}
                when ${watched.map((column) => `old.${column} is not new.${column}`).join(" or ")}`,
              decrease,
              increase,
            ),
          ]),
    ]
  })

const postgresTriggers = (table: string): string[] => {
  const combinations = combinationsOn(table)
  /** `counted`: rows with a column `change`. */
  const append = (combination: Combination, counted: (columns: string) => string): string => {
    const { key, columns, day } = combination
    const needed = [...columns, ...(day === undefined ? [] : [day])]
    const grouped = groupOf(combination, "postgres").slice(1)
    return `insert into row_counts (${allColumns})
      select '${key}', g.day, ${places.map((place) => `g.${place}`).join(", ")}, nextval('row_counts_part'), g.n from (
        select ${grouped.map((value, place) => `${value} as ${keyColumns[place + 1]}`).join(", ")}, sum(change) as n
        from (${counted(["", ...needed].join(", "))}) c ${day === undefined ? "" : `where ${day} is not null`}
        group by 1, 2, 3, 4, 5, 6, 7 having sum(change) <> 0
      ) g;`
  }
  const watched = [
    ...new Set(combinations.flatMap(({ columns, day }) => [...columns, ...(day === undefined ? [] : [day])])),
  ]
  // With the rights of its owner: whoever may change a counted table needs none on the counters.
  const trigger = (event: string, transition: string, body: string): string[] => [
    `create or replace function row_counts_${table}_${event}() returns trigger language plpgsql
      security definer set search_path from current as $$ begin ${body} return null; end; $$`,
    `create trigger row_counts_${table}_${event} after ${event} on ${table} referencing ${transition}
      for each statement execute function row_counts_${table}_${event}()`,
  ]
  const eachOf = (counted: (columns: string) => string) =>
    combinations.map((combination) => append(combination, counted)).join("\n")
  return [
    ...trigger(
      "insert",
      "new table as new_rows",
      eachOf((columns) => `select 1 as change${columns} from new_rows`),
    ),
    ...trigger(
      "delete",
      "old table as old_rows",
      eachOf((columns) => `select -1 as change${columns} from old_rows`),
    ),
    // Most updates change nothing that is counted.
    ...trigger(
      "update",
      "old table as old_rows new table as new_rows",
      `if exists (select ${watched.join(", ")} from new_rows except all select ${watched.join(", ")} from old_rows) then
        ${eachOf((columns) => `select 1 as change${columns} from new_rows union all select -1${columns} from old_rows`)}
      end if;`,
    ),
  ]
}

const triggersOf: Readonly<Record<Dialect, (table: string) => string[]>> = {
  sqlite: sqliteTriggers,
  postgres: postgresTriggers,
}

const recount = (table: string, dialect: Dialect): string[] =>
  combinationsOn(table).flatMap((combination) => [
    `delete from row_counts where list = '${combination.key}'`,
    `insert into row_counts (${allColumns}) select ${groupOf(combination, dialect).join(", ")}, 0, count(*) from ${table}
      where ${combination.day === undefined ? "true" : `${combination.day} is not null`} group by 1, 2, 3, 4, 5, 6, 7, 8`,
  ])

const digestOf = (table: string, dialect: Dialect): string =>
  createHash("sha256")
    .update([...triggersOf[dialect](table), ...recount(table, dialect)].join("\n"))
    .digest("hex")

const mark = (table: string): string => `row_counts:${table}`

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
  for (const table of tables) await connection.all("delete from settings where name = ?", [mark(table)])
}

/**
 * Makes the triggers and counts what is there, table by table, where that was not done or was done for another definition. Any
 * number of servers may call it at once. A million rows take some seconds, during which PostgreSQL lets nobody write to the table.
 */
export const ensureRowCounts = async (db: DbHandle): Promise<void> => {
  const { dialect } = db
  const isCurrent = async (connection: SchemaConnection, table: string): Promise<boolean> => {
    const [row] = await connection.all("select value from settings where name = ?", [mark(table)])
    return row?.value === digestOf(table, dialect)
  }
  const stale = await db.changeSchema(async (connection) => {
    const found: string[] = []
    for (const table of tables) if (!(await isCurrent(connection, table))) found.push(table)
    return found
  })
  const now = dialect === "sqlite" ? "cast(unixepoch('subsec') * 1000 as integer)" : "now()"
  // A transaction each: holding one table's lock while waiting for another's could deadlock with a server at work.
  for (const table of stale) {
    await db.changeSchema(
      async (connection) => {
        if (await isCurrent(connection, table)) return
        if (dialect === "postgres") {
          await connection.run(`lock table ${table} in share row exclusive mode`)
          await connection.run("create sequence if not exists row_counts_part owned by row_counts.part")
        }
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
export const rowCountsDigest = (dialect: Dialect): string => tables.map((table) => digestOf(table, dialect)).join(" ")
