/** Numbers of rows without counting them. What is counted, and by what, stands in counted-lists.ts. */
import { and, asc, eq, gte, inArray, isNotNull, lt, ne, type SQL, type SQLWrapper, sql } from "drizzle-orm"
import type { SQLiteColumn } from "drizzle-orm/sqlite-core"
import {
  type Combination,
  combinationsOf,
  type Dimension,
  dayOf,
  type ListName,
  noValue,
  startOfDay,
  type ValuePlace,
  valuePlaces,
} from "./counted-lists"
import type { Db } from "./db"

/** A value, one of several, or null for rows that have none; what is undefined or left out does not matter. */
export type CountFilter<L extends ListName> = {
  readonly [D in Dimension<L>]?: string | null | readonly string[] | undefined
}

/** `from` is in it, `until` is not; null has no bound. */
export interface TimeRange {
  readonly from: Date | null
  readonly until: Date | null
}

export interface DayCount {
  /** Days since 1970-01-01, UTC. */
  readonly day: number
  readonly count: number
}

export interface ValueCount {
  /** null: rows that have none. */
  readonly value: string | null
  readonly count: number
}

type Grouping = { readonly [L in ListName]: readonly [list: L, dimension: Dimension<L>] }[ListName]

const stored = (value: string | null): string => value ?? noValue

type Filter = Readonly<Record<string, string | null | readonly string[] | undefined>>

/** The first day, and the first after the last; null has no bound. */
interface Days {
  readonly first: number | null
  readonly end: number | null
}

const allDays: Days = { first: null, end: null }

/** A piece of a day. */
interface Piece {
  readonly from: Date
  readonly until: Date
}

/** The whole days of a range, null where it has none, and the pieces of days at its ends. */
const splitOf = ({ from, until }: TimeRange): { days: Days | null; pieces: Piece[] } => {
  if (from !== null && until !== null && from >= until) return { days: null, pieces: [] }
  // The first whole day, and the first day after the whole ones.
  const first = from === null ? null : Math.ceil(from.getTime() / startOfDay(1).getTime())
  const end = until === null ? null : dayOf(until)
  if (from !== null && until !== null && first !== null && end !== null && first > end) {
    return { days: null, pieces: [{ from, until }] }
  }
  const pieces = [
    ...(from === null || first === null ? [] : [{ from, until: startOfDay(first) }]),
    ...(until === null || end === null ? [] : [{ from: startOfDay(end), until }]),
  ]
  return { days: { first, end }, pieces: pieces.filter((piece) => piece.from < piece.until) }
}

const askedOf = (filter: Filter): string[] => Object.keys(filter).filter((name) => filter[name] !== undefined)

export const rowCounts = ({ t, read }: Pick<Db, "t" | "read">) => {
  const { rowCounts: counters, rowChanges: changes } = t
  const sum = sql`coalesce(sum(n), 0)`.mapWith(Number)

  const combinationFor = (list: ListName, needed: readonly string[]): Combination => {
    const found = combinationsOf(list).find(({ places }) => needed.every((name) => name in places))
    if (found === undefined) throw new Error(`${list} are not counted by ${needed.join(" and ")}`)
    return found
  }
  const placeOf = (combination: Combination, dimension: string): ValuePlace => {
    const place = combination.places[dimension]
    if (place === undefined) throw new Error(`${combination.key} has no place for ${dimension}`)
    return place
  }

  const withValues = (from: typeof counters | typeof changes, combination: Combination, filter: Filter) =>
    Object.entries(filter).map(([name, value]) => {
      if (value === undefined) return undefined
      const column = from[placeOf(combination, name)]
      return typeof value === "string" || value === null
        ? eq(column, stored(value))
        : inArray(column, value.length === 0 ? [""] : [...value])
    })

  const inDays = (column: SQLiteColumn, { first, end }: Days): (SQL | undefined)[] => [
    first === null ? undefined : gte(column, first),
    end === null ? undefined : lt(column, end),
  ]

  /** The counters and the changes that are not in them yet, in one statement: between two, some would move from here to there. */
  const counted = (combination: Combination, by: ValuePlace | "day" | null, filter: Filter, days: Days) => {
    const { key, table, day, places, without } = combination
    const used = new Set<string>(Object.values(places))
    const isInCounters = and(
      eq(counters.list, key),
      ...(day === undefined ? [eq(counters.day, 0)] : inDays(counters.day, days)),
      // Known to be so, but only by this does an index lead past them.
      ...valuePlaces.filter((place) => !used.has(place)).map((place) => eq(counters[place], "")),
      ...withValues(counters, combination, filter),
    )
    const isInChanges = and(
      eq(changes.source, table),
      ...(day === undefined ? [] : [isNotNull(changes[day]), ...inDays(changes[day], days)]),
      without && ne(changes[without.place], without.value),
      ...withValues(changes, combination, filter),
    )
    const changed = by === "day" ? day : by
    const sums = (from: SQLWrapper, column: SQLiteColumn | undefined, where: SQL | undefined) =>
      column === undefined
        ? sql`select sum(n) as n from ${from} where ${where}`
        : sql`select ${column} as value, sum(n) as n from ${from} where ${where} group by ${column}`
    // As text: builders inside builders take as long to build as the query takes to run.
    return sql`(${sums(counters, by === null ? undefined : counters[by], isInCounters)} union all ${sums(
      changes,
      changed ? changes[changed] : undefined,
      isInChanges,
    )}) counted`
  }

  const countedIn = (list: ListName, filter: Filter, days: Days) =>
    counted(combinationFor(list, askedOf(filter)), null, filter, days)
  const sumOf = async (list: ListName, filter: Filter, days: Days): Promise<number> => {
    const [row] = await read.select({ n: sum }).from(countedIn(list, filter, days))
    return row?.n ?? 0
  }
  const termOf = (list: ListName, filter: Filter, days: Days): SQL =>
    sql`(select coalesce(sum(n), 0) from ${countedIn(list, filter, days)})`

  const groupsOf = async (combination: Combination, by: ValuePlace | "day", filter: Filter, days: Days) => {
    const all = counted(combination, by, filter, days)
    const value = sql<string | number>`value`
    return await read
      .select({ value, count: sum })
      .from(all)
      .groupBy(value)
      .having(sql`sum(n) <> 0`)
      .orderBy(asc(value))
  }

  return {
    total: <L extends ListName>(list: L, filter: CountFilter<L> = {}): Promise<number> =>
      sumOf(list, filter as Filter, allDays),

    /** How many there are of each value of one dimension; values without rows are left out. */
    async byValue<L extends ListName, D extends Dimension<L>>(
      list: L,
      dimension: D,
      filter: CountFilter<L> = {},
    ): Promise<ValueCount[]> {
      const combination = combinationFor(list, [...askedOf(filter as Filter), dimension])
      const groups = await groupsOf(combination, placeOf(combination, dimension), filter as Filter, allDays)
      return groups.map(({ value, count }) => ({ value: value === noValue ? null : String(value), count }))
    },

    /** `byValue` of several lists in one query, the values in no order. */
    async byValues(...asked: readonly Grouping[]): Promise<ValueCount[][]> {
      const groups = asked.map(([list, dimension], nth) => {
        const combination = combinationFor(list, [dimension])
        const all = counted(combination, placeOf(combination, dimension), {}, allDays)
        return sql`select ${sql.raw(String(nth))} as nth, value, sum(n) as n from ${all} group by value having sum(n) <> 0`
      })
      const rows = await read
        .select({ nth: sql`nth`.mapWith(Number), value: sql<string>`value`, count: sql`n`.mapWith(Number) })
        .from(sql`(${sql.join(groups, sql` union all `)}) as grouped`)
      return asked.map((_, nth) =>
        rows
          .filter((row) => row.nth === nth)
          .map(({ value, count }) => ({ value: value === noValue ? null : value, count })),
      )
    },

    /** Whole days only: from the day of `from` up to, and without, the day of `until`. Days without rows are left out. */
    async perDay<L extends ListName>(
      list: L,
      { from, until }: TimeRange,
      filter: CountFilter<L> = {},
    ): Promise<DayCount[]> {
      const days = { first: from === null ? null : dayOf(from), end: until === null ? null : dayOf(until) }
      const combination = combinationFor(list, askedOf(filter as Filter))
      const groups = await groupsOf(combination, "day", filter as Filter, days)
      return groups.map(({ value, count }) => ({ day: Number(value), count }))
    },

    /**
     * The rows of a range that begins and ends at any moment. Whole days come from the counters; `countRows` is asked for the
     * pieces of days at the ends, and counts them in the table itself.
     */
    async within<L extends ListName>(
      list: L,
      range: TimeRange,
      countRows: (piece: Piece) => Promise<number>,
      filter: CountFilter<L> = {},
    ): Promise<number> {
      const { days, pieces } = splitOf(range)
      const whole = days === null ? 0 : sumOf(list, filter as Filter, days)
      const counts = await Promise.all([whole, ...pieces.map(countRows)])
      return counts.reduce((sum, count) => sum + count)
    },

    /** The same numbers as parts of a query, for who asks for several at once: each query on its own is a way to the database and back. */
    term: {
      total: <L extends ListName>(list: L, filter: CountFilter<L> = {}): SQL<number> =>
        termOf(list, filter as Filter, allDays).mapWith(Number),

      /** @param countRows a query in brackets */
      within<L extends ListName>(
        list: L,
        range: TimeRange,
        countRows: (piece: Piece) => SQL,
        filter: CountFilter<L> = {},
      ): SQL<number> {
        const { days, pieces } = splitOf(range)
        const whole = days === null ? sql`0` : termOf(list, filter as Filter, days)
        return sql`${sql.join([whole, ...pieces.map(countRows)], sql` + `)}`.mapWith(Number)
      },
    },
  }
}

export type RowCounts = ReturnType<typeof rowCounts>
