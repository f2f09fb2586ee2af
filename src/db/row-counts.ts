/** Numbers of rows without counting them. What is counted, and by what, stands in counted-lists.ts. */
import { and, asc, eq, gte, inArray, lt, type SQL, sql } from "drizzle-orm"
import {
  type Combination,
  combinationsOf,
  type Dimension,
  dayOf,
  type ListName,
  noValue,
  startOfDay,
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

const stored = (value: string | null): string => value ?? noValue

export const rowCounts = ({ t, read }: Pick<Db, "t" | "read">) => {
  const table = t.rowCounts
  const places = [table.d1, table.d2, table.d3, table.d4, table.d5, table.d6] as const
  const n = sql`coalesce(sum(${table.n}), 0)`.mapWith(Number)

  const combinationFor = (list: ListName, needed: readonly string[]): Combination => {
    const found = combinationsOf(list).find(({ dimensions }) => needed.every((name) => dimensions.includes(name)))
    if (found === undefined) throw new Error(`${list} are not counted by ${needed.join(" and ")}`)
    return found
  }
  const placeOf = (combination: Combination, dimension: string) => {
    const place = places[combination.dimensions.indexOf(dimension)]
    if (place === undefined) throw new Error(`${combination.key} has no place for ${dimension}`)
    return place
  }

  const find = (list: ListName, filter: object, grouping: readonly string[]) => {
    const wanted = Object.entries(filter as Record<string, string | null | readonly string[] | undefined>).flatMap(
      ([name, value]) => (value === undefined ? [] : [{ name, value }]),
    )
    const combination = combinationFor(list, [...wanted.map(({ name }) => name), ...grouping])
    const where: (SQL | undefined)[] = [
      eq(table.list, combination.key),
      combination.day === undefined ? eq(table.day, 0) : undefined,
      ...wanted.map(({ name, value }) => {
        const place = placeOf(combination, name)
        return typeof value === "string" || value === null
          ? eq(place, stored(value))
          : inArray(place, value.length === 0 ? [""] : [...value])
      }),
    ]
    return { combination, where }
  }

  const total = async <L extends ListName>(list: L, filter: CountFilter<L> = {}): Promise<number> => {
    const [row] = await read
      .select({ n })
      .from(table)
      .where(and(...find(list, filter, []).where))
    return row?.n ?? 0
  }

  const inDays = (first: number | null, end: number | null): (SQL | undefined)[] => [
    first === null ? undefined : gte(table.day, first),
    end === null ? undefined : lt(table.day, end),
  ]

  return {
    total,

    /** How many there are of each value of one dimension; values without rows are left out. */
    async byValue<L extends ListName, D extends Dimension<L>>(
      list: L,
      dimension: D,
      filter: CountFilter<L> = {},
    ): Promise<{ value: string | null; count: number }[]> {
      const { combination, where } = find(list, filter, [dimension])
      const place = placeOf(combination, dimension)
      const rows = await read
        .select({ value: place, count: n })
        .from(table)
        .where(and(...where))
        .groupBy(place)
        .having(sql`${n} <> 0`)
        .orderBy(asc(place))
      return rows.map(({ value, count }) => ({ value: value === noValue ? null : value, count }))
    },

    /** Whole days only: from the day of `from` up to, and without, the day of `until`. Days without rows are left out. */
    perDay<L extends ListName>(list: L, { from, until }: TimeRange, filter: CountFilter<L> = {}): Promise<DayCount[]> {
      const days = inDays(from === null ? null : dayOf(from), until === null ? null : dayOf(until))
      return read
        .select({ day: table.day, count: n })
        .from(table)
        .where(and(...find(list, filter, []).where, ...days))
        .groupBy(table.day)
        .having(sql`${n} <> 0`)
    },

    /**
     * The rows of a range that begins and ends at any moment. Whole days come from the counters; `countRows` is asked for the
     * pieces of days at the ends, and counts them in the table itself.
     */
    async within<L extends ListName>(
      list: L,
      { from, until }: TimeRange,
      countRows: (piece: { readonly from: Date; readonly until: Date }) => Promise<number>,
      filter: CountFilter<L> = {},
    ): Promise<number> {
      if (from !== null && until !== null && from >= until) return 0
      // The first whole day, and the first day after the whole ones.
      const first = from === null ? null : Math.ceil(from.getTime() / startOfDay(1).getTime())
      const end = until === null ? null : dayOf(until)
      if (from !== null && until !== null && first !== null && end !== null && first > end) {
        return await countRows({ from, until })
      }
      const pieces = [
        ...(from === null || first === null ? [] : [{ from, until: startOfDay(first) }]),
        ...(until === null || end === null ? [] : [{ from: startOfDay(end), until }]),
      ].filter((piece) => piece.from < piece.until)
      const whole = read
        .select({ n })
        .from(table)
        .where(and(...find(list, filter, []).where, ...inDays(first, end)))
      const [[row], ...counts] = await Promise.all([whole, ...pieces.map(countRows)])
      return counts.reduce((sum, count) => sum + count, row?.n ?? 0)
    },
  }
}

export type RowCounts = ReturnType<typeof rowCounts>

/** Changes added up at a time. */
const foldSize = 5000

/**
 * Adds the changes that PostgreSQL's writers have appended to the numbers they change. Two that run at once leave each other's rows
 * alone. On SQLite there is nothing to do.
 */
export const foldRowCounts = async ({ t, dialect, transaction }: Db, signal?: AbortSignal): Promise<void> => {
  if (dialect === "sqlite") return
  const table = t.rowCounts
  const key = [table.list, table.day, table.d1, table.d2, table.d3, table.d4, table.d5, table.d6, table.part]
  const fold = () =>
    transaction(async (tx) => {
      const changes = await tx
        .delete(table)
        .where(
          sql`ctid in (select ctid from row_counts where part <> 0 order by part limit ${foldSize} for update skip locked)`,
        )
        .returning()
      const sums = new Map<string, typeof table.$inferInsert>()
      for (const { n, part, ...group } of changes) {
        const name = JSON.stringify(group)
        sums.set(name, { ...group, part: 0, n: (sums.get(name)?.n ?? 0) + n })
      }
      // One order for everybody: two servers that both believe to hold the lease must not wait for each other.
      const rows = [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
      const changed = rows.filter((row) => row.n !== 0)
      if (changed.length > 0) {
        await tx
          .insert(table)
          .values(changed)
          .onConflictDoUpdate({ target: key, set: { n: sql`${table.n} + excluded.n` } })
      }
      return changes.length
    })
  while (!signal?.aborted && (await fold()) === foldSize);
}
