/** The SQL of counting rows that triggers, folding and counting from scratch share. */
import {
  type Combination,
  combinationsOf,
  countedLists,
  countedTables,
  dayPlaces,
  type ListName,
  type TableName,
  valuePlaces,
} from "./counted-lists"
import type { DbHandle } from "./db"

export type Dialect = DbHandle["dialect"]

export const combinationsOn = (table: TableName): Combination[] =>
  (Object.keys(countedLists) as ListName[])
    .filter((name) => countedLists[name].table === table)
    .flatMap((name) => combinationsOf(name))

/** Rounds down, also before 1970. */
const dayIn: Readonly<Record<Dialect, (column: string) => string>> = {
  sqlite: (column) => `(${column} - ((${column} % 86400000) + 86400000) % 86400000) / 86400000`,
  postgres: (column) => `floor(extract(epoch from ${column}) / 86400)::bigint`,
}
const missing: Readonly<Record<Dialect, string>> = { sqlite: "char(1)", postgres: "chr(1)" }

/** The columns of `row_changes` that a table fills. */
export const keptOf = (table: TableName): string[] => [
  ...valuePlaces,
  ...dayPlaces.slice(0, countedTables[table].days.length),
]

/** The same for one of its rows; `row` is `new.`, `old.` or nothing. */
export const valuesOf = (table: TableName, dialect: Dialect, row = ""): string[] => {
  const { values, days }: { values: readonly string[]; days: readonly string[] } = countedTables[table]
  return [
    ...valuePlaces.map((_, place) => {
      const column = values[place]
      return column === undefined ? "''" : `coalesce(${row}${column}, ${missing[dialect]})`
    }),
    ...days.map((column) => dayIn[dialect](`${row}${column}`)),
  ]
}

export const watchedOf = (table: TableName): string[] => [...countedTables[table].values, ...countedTables[table].days]

/** @param changes rows with the name of the table, their number and the columns that `keptOf` names */
export const append = (table: TableName, changes: string): string =>
  `insert into row_changes (source, n, ${keptOf(table).join(", ")}) ${changes};`

export const counterColumns = ["list", "day", ...valuePlaces]

/** Sums of changes by one combination, as rows of `row_counts`. `changes` goes after FROM. */
export const sumsBy = ({ key, places, day, without }: Combination, changes: string): string => {
  const used = new Set<string>(Object.values(places))
  const groups = [...(day === undefined ? [] : [day]), ...used]
  const columns = valuePlaces.map((place) => (used.has(place) ? place : `'' as ${place}`))
  return `select '${key}' as list, ${day ?? "0"} as day, ${columns.join(", ")}, sum(n) as n from ${changes}
    where ${day === undefined ? "true" : `${day} is not null`}${without ? ` and ${without.place} <> '${without.value}'` : ""}
    ${groups.length === 0 ? "" : `group by ${groups.join(", ")}`} having sum(n) <> 0`
}

/** @param sums rows of `row_counts`, each combination of values once */
export const addToCounters = (sums: string): string =>
  `insert into row_counts (${counterColumns.join(", ")}, n) ${sums}
    on conflict (${counterColumns.join(", ")}) do update set n = row_counts.n + excluded.n`

/** PostgreSQL: adds so many changes of a table to the counters, and answers how many there were. */
export const foldFunction = (table: TableName): string => `row_counts_fold_${table}`
