/**
 * Adds the changes that triggers have appended to the counters, many at a time, and takes them away. By then most of them cancel out
 * or change the same counters.
 */
import { getTableColumns, getTableName, max, min, type SQL, sql } from "drizzle-orm"
import { type TableName, tableNames, valuePlaces } from "./counted-lists"
import type { Db, Tx } from "./db"
import { hot } from "./hot"
import { combinationsOn, foldFunction, sumsBy } from "./row-count-sql"

/** Changes of one table that PostgreSQL adds with one statement: some milliseconds, in which others wait. */
const postgresPiece = 1000
/** Of one transaction, each of which waits for its turn. */
const piecesTogether = 10

const foldOnPostgres = async ({ t, read, transaction, vacuum }: Db, signal?: AbortSignal): Promise<void> => {
  const { source } = t.rowChanges
  let total = 0
  /** Whether there is more. */
  const fold = (table: TableName): Promise<boolean> =>
    transaction(async (tx) => {
      const call = sql.raw(`${foldFunction(table)}(${postgresPiece}) as folded`)
      for (let piece = 0; piece < piecesTogether; piece += 1) {
        const [row] = await tx.select({ folded: sql`folded`.mapWith(Number) }).from(call)
        const folded = row?.folded ?? 0
        total += folded
        if (folded < postgresPiece) return false
      }
      return true
    })
  for (const row of await read.selectDistinct({ source }).from(t.rowChanges)) {
    // What is written by a version that counts more tables is left to it.
    const table = tableNames.find((name) => name === row.source)
    while (table !== undefined && signal?.aborted !== true && (await fold(table)));
  }
  // Every count reads the whole table, and what was deleted with it.
  if (total >= muchFolded) await vacuum(getTableName(t.rowChanges))
}

/** Changes that leave some dozens of pages behind. */
const muchFolded = 2000

/** Changes that SQLite adds at a time, while everybody waits: three to eight milliseconds, by how many counters they touch. */
const sqlitePiece = 1000

/**
 * Pieces that its writer has at once: who wants to write waits for them. If each waited for the one before to be on the disk, they could
 * fall behind.
 */
const piecesAtOnce = 3

/** The oldest changes. The numbers begin with 1 again where all were taken away. */
const nextPiece = `id > 0 and id < (select min(id) from row_changes where id > 0) + ${sqlitePiece}`

/**
 * Puts in the place of a piece what is left of it where rows of the same values are one, under numbers below 0: some dozens of rows,
 * each of which twenty statements look at.
 */
const joinEqual = ({ t }: Pick<Db, "t">) => {
  const { id: _, n, ...values } = getTableColumns(t.rowChanges)
  const equal = sql.join(Object.values(values), sql`, `)
  return hot("join_equal_changes", (tx: Tx) =>
    tx.insert(t.rowChanges).select(
      sql`select -row_number() over (), ${t.rowChanges.source}, sum(${n}), ${sql.join(Object.values(values).slice(1), sql`, `)}
        from ${t.rowChanges} where ${sql.raw(nextPiece)} group by ${equal} having sum(${n}) <> 0`,
    ),
  )
}

const statementsOf = ({ t }: Pick<Db, "t">): ((tx: Tx) => Promise<unknown>)[] => {
  const { rowCounts: counters, rowChanges: changes } = t
  const target = [counters.list, counters.day, ...valuePlaces.map((place) => counters[place])]
  const add = (name: string, sums: SQL) =>
    hot(name, (tx: Tx) =>
      tx
        .insert(counters)
        .select(sums)
        .onConflictDoUpdate({ target, set: { n: sql`${counters.n} + excluded.n` } }),
    )
  return [
    // Building twenty statements takes longer than running them.
    joinEqual({ t }),
    hot("delete_joined", (tx: Tx) => tx.delete(changes).where(sql.raw(nextPiece))),
    ...tableNames.flatMap((table) =>
      combinationsOn(table).map((combination) =>
        add(
          `add_${combination.key}`,
          sql.raw(sumsBy(combination, `(select * from row_changes where id < 0 and source = '${table}')`)),
        ),
      ),
    ),
    hot("delete_added", (tx: Tx) => tx.delete(changes).where(sql`id < 0`)),
  ]
}

const sqliteStatements = new WeakMap<Db["t"], ReturnType<typeof statementsOf>>()

const foldOnSqlite = async ({ t, read, transaction }: Db, signal?: AbortSignal): Promise<void> => {
  const statements = sqliteStatements.get(t) ?? statementsOf({ t })
  sqliteStatements.set(t, statements)
  const fold = () =>
    transaction(async (tx) => {
      for (const run of statements) await run(tx)
    })
  const { id } = t.rowChanges
  const [row] = await read.select({ first: min(id), last: max(id) }).from(t.rowChanges)
  // What is appended from now on is for the next time.
  let pieces = Math.ceil(((row?.last ?? 0) - (row?.first ?? 1) + 1) / sqlitePiece)
  const foldSome = async (): Promise<void> => {
    for (; pieces > 0 && signal?.aborted !== true; await fold()) pieces -= 1
  }
  await Promise.all(Array.from({ length: piecesAtOnce }, foldSome))
}

/** Adds the changes there are. Any number of servers may do so at once: they leave each other's alone. */
export const foldRowCounts = (db: Db, signal?: AbortSignal): Promise<void> =>
  db.dialect === "sqlite" ? foldOnSqlite(db, signal) : foldOnPostgres(db, signal)
