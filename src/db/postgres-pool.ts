/** A pool of connections, each lent to one transaction or one query and replaced as soon as it broke. */

import { AppError } from "../errors"
import { isUrgent } from "../urgency"
import type { SchemaConnection, Tx } from "./db"
import { GivingWay } from "./giving-way"
import { deadlineError, inTurn, Turn } from "./guard"
import { PostgresConnection } from "./postgres-connection"
import { RepeatedStatements } from "./repeated-statements"
import { TransactionLimit } from "./transaction-limit"

export interface PostgresPoolOptions {
  readonly url: string
  readonly maxConnections: number
  /** Of a transaction, from its BEGIN. */
  readonly deadlineMilliseconds: number
  /** Of a single query. */
  readonly queryMilliseconds: number
  /** How long a caller waits for a connection before it is told that the server is too busy. */
  readonly waitMilliseconds: number
}

/** Any number that nobody else uses on this database: every certctl process takes this lock before it changes the schema. */
const schemaLock = "4985216302"

/** What a connection is lent for: one statement, or several with decisions between them. */
type Use = "query" | "transaction"

/** Who waits for the same: urgent ones go first. */
type Lane = Use | `urgent ${Use}`

interface Waiter {
  /** Who came first has the smaller one. */
  readonly place: number
  readonly resolve: (connection: PostgresConnection) => void
  readonly reject: (error: unknown) => void
}

/** Connections that transactions may hold at a time at most. */
const mostTransactions = (connections: number): number => Math.min(connections, Math.max(4, Math.ceil(connections / 4)))
/** And reads that are not urgent. Statements that share few cores take so much longer each; the rest is for people who look at something. */
const mostPatientReads = (connections: number): number => Math.min(connections, Math.max(2, Math.ceil(connections / 8)))
/** After somebody urgent has come, the next one is expected. */
const watchedMs = 2000
/** One of so many connections goes to whoever has waited longest, so that nobody waits for ever. */
const turnOfLongest = 4

const useOf = (lane: Lane): Use => (lane.endsWith("query") ? "query" : "transaction")

export class PostgresPool {
  readonly #options: PostgresPoolOptions
  readonly #idle: PostgresConnection[] = []
  readonly #waiters: Record<Lane, Set<Waiter>> = {
    "urgent query": new Set(),
    "urgent transaction": new Set(),
    query: new Set(),
    transaction: new Set(),
  }
  readonly #lentTo: Record<Lane, number> = { "urgent query": 0, "urgent transaction": 0, query: 0, transaction: 0 }
  readonly #limit: TransactionLimit
  readonly #repeated = new RepeatedStatements()
  readonly #givingWay = new GivingWay()
  #places = 0
  #watchedUntil = 0
  /** How often somebody urgent came after somebody who was not. */
  #contests = 0
  #closed: { readonly idle: Promise<void>; readonly resolve: () => void } | undefined

  constructor(options: PostgresPoolOptions) {
    this.#options = options
    this.#limit = new TransactionLimit(mostTransactions(options.maxConnections))
  }

  /** Sends one statement outside of any transaction. */
  query(text: string, parameters: unknown[] = [], given?: { prepare?: boolean }, asArrays = false): Promise<unknown> {
    const isUrgentQuery = isUrgent()
    const isPrepared = given?.prepare !== true && parameters.length > 0 && isUrgentQuery && this.#repeated.saw(text)
    const options = isPrepared ? { prepare: true, planAnew: true } : given
    return this.#lend("query", (connection) =>
      within(
        connection,
        this.#options.queryMilliseconds,
        (milliseconds) => new AppError("unavailable", `a database query took longer than ${milliseconds} ms`),
        async () => {
          if (!isUrgentQuery) await this.#givingWay.over
          return await connection.send(text, parameters, options, asArrays)
        },
      ),
    )
  }

  /** `committed` runs before the caller goes on. */
  transaction<R>(run: (tx: Tx) => Promise<R>, committed: (turn: Turn) => void): Promise<R> {
    return this.#lend("transaction", (connection) =>
      within(connection, this.#options.deadlineMilliseconds, deadlineError, async () => {
        const turn = new Turn(connection.tx)
        if (!isUrgent()) await this.#givingWay.over
        const result = await between(connection, this.#begin(connection), turn, async () => {
          connection.turn = turn
          try {
            const value = await connection.whileAlive(inTurn(turn, run))
            // COMMIT of a failed transaction is a rollback that reports success.
            if (turn.failure !== undefined) throw turn.failure.error
            return value
          } finally {
            turn.running = false
            connection.turn = undefined
          }
        })
        committed(turn)
        return result
      }),
    )
  }

  changeSchema<R>(run: (connection: SchemaConnection) => Promise<R>): Promise<R> {
    return this.#lend("transaction", (connection) =>
      between(connection, connection.begin(), null, async () => {
        await connection.send("select pg_advisory_xact_lock($1)", [schemaLock])
        return await connection.whileAlive(
          run({
            run: async (text) => void (await connection.send(text)),
            async all(text, parameters = []) {
              let position = 0
              const numbered = text.replaceAll("?", () => `$${++position}`)
              return (await connection.send(numbered, [...parameters])) as Record<string, unknown>[]
            },
          }),
        )
      }),
    )
  }

  /** Waits for what is lent out: no longer than a deadline. */
  async close(): Promise<void> {
    if (this.#closed === undefined) {
      const { promise: idle, resolve } = Promise.withResolvers<void>()
      this.#closed = { idle, resolve }
      for (const waiters of Object.values(this.#waiters)) {
        for (const waiter of waiters) waiter.reject(closedError())
        waiters.clear()
      }
      if (this.#lent() === 0) resolve()
    }
    await this.#closed.idle
    await Promise.all(this.#idle.splice(0).map((connection) => connection.destroy(1)))
  }

  async #begin(connection: PostgresConnection): Promise<void> {
    const { isOpen } = connection
    const asked = performance.now()
    await connection.begin()
    const now = performance.now()
    if (isOpen) this.#limit.observe(now - asked, now < this.#watchedUntil)
  }

  async #lend<R>(use: Use, work: (connection: PostgresConnection) => Promise<R>): Promise<R> {
    const urgent = isUrgent()
    const lane: Lane = urgent ? `urgent ${use}` : use
    if (urgent) this.#watchedUntil = performance.now() + watchedMs
    const connection = await this.#take(lane)
    if (urgent) this.#givingWay.begin()
    try {
      return await work(connection)
    } finally {
      if (urgent) this.#givingWay.end()
      this.#giveBack(lane, connection)
    }
  }

  #lent(): number {
    return Object.values(this.#lentTo).reduce((sum, count) => sum + count)
  }

  #isAllowed(lane: Lane): boolean {
    const { transaction, query } = this.#lentTo
    if (useOf(lane) === "transaction") return transaction + this.#lentTo["urgent transaction"] < this.#limit.now
    return lane === "urgent query" || query < Math.min(this.#limit.now, mostPatientReads(this.#options.maxConnections))
  }

  async #take(lane: Lane): Promise<PostgresConnection> {
    if (this.#closed !== undefined) throw closedError()
    if (this.#lent() < this.#options.maxConnections && this.#isAllowed(lane)) {
      this.#lentTo[lane] += 1
      return this.#fresh(this.#idle.pop())
    }
    const { waitMilliseconds, maxConnections } = this.#options
    const { promise, resolve, reject } = Promise.withResolvers<PostgresConnection>()
    const waiters = this.#waiters[lane]
    const waiter = { place: this.#places++, resolve, reject }
    waiters.add(waiter)
    const timer = setTimeout(() => {
      waiters.delete(waiter)
      reject(new AppError("unavailable", `all ${maxConnections} database connections are busy`))
    }, waitMilliseconds)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** An idle connection can have died since: a restarted database would otherwise cost one failed caller per connection. */
  #fresh(connection: PostgresConnection | undefined): PostgresConnection {
    if (connection !== undefined && !connection.isDead) return connection
    if (connection !== undefined) discard(connection)
    return new PostgresConnection(this.#options.url, this.#givingWay)
  }

  /** Takes who has waited longest out of those who may have a connection now: of the urgent ones, where there are any. */
  #next(): { lane: Lane; waiter: Waiter } | undefined {
    const first = (...lanes: readonly Lane[]) =>
      lanes
        .flatMap((lane) => {
          const [waiter] = this.#isAllowed(lane) ? this.#waiters[lane] : []
          return waiter === undefined ? [] : [{ lane, waiter }]
        })
        .toSorted((a, b) => a.waiter.place - b.waiter.place)
        .at(0)
    const longest = first("urgent query", "urgent transaction", "query", "transaction")
    const urgent = first("urgent query", "urgent transaction")
    const isContested = urgent !== undefined && urgent.waiter !== longest?.waiter
    if (isContested) this.#contests += 1
    const next = isContested && this.#contests % turnOfLongest !== 0 ? urgent : longest
    if (next !== undefined) this.#waiters[next.lane].delete(next.waiter)
    return next
  }

  #giveBack(lane: Lane, connection: PostgresConnection): void {
    this.#lentTo[lane] -= 1
    if (connection.isDead) discard(connection)
    else this.#idle.push(connection)
    // Several at once, where more transactions are allowed than before.
    while (this.#lent() < this.#options.maxConnections) {
      const next = this.#next()
      if (next === undefined) break
      this.#lentTo[next.lane] += 1
      next.waiter.resolve(this.#fresh(this.#idle.pop()))
    }
    if (this.#lent() === 0) this.#closed?.resolve()
  }
}

const closedError = () => new Error("the database is closed")

// Closing a socket that broke may fail in as many ways as it broke; nothing depends on it.
const discard = (connection: PostgresConnection): void => void connection.destroy().catch(() => undefined)

const within = async <R>(
  connection: PostgresConnection,
  milliseconds: number,
  late: (milliseconds: number) => AppError,
  work: () => Promise<R>,
): Promise<R> => {
  const timer = setTimeout(() => connection.abandon(late(milliseconds)), milliseconds)
  try {
    return await work()
  } finally {
    clearTimeout(timer)
  }
}

/**
 * `work` and COMMIT, if that has not gone out with the last statement, or ROLLBACK: as plain statements, since a pool's own `begin` does
 * not survive a restart.
 */
const between = async <R>(
  connection: PostgresConnection,
  begun: Promise<void>,
  turn: Pick<Turn, "commit"> | null,
  work: () => Promise<R>,
): Promise<R> => {
  // Waited for at the end only, and by what writes.
  begun.catch(() => undefined)
  let result: R
  try {
    result = await work()
    await begun
  } catch (error) {
    if (!connection.isDead) {
      try {
        await connection.send("rollback")
      } catch (rollbackError) {
        connection.abandon(rollbackError)
      }
    }
    throw error
  }
  await (turn?.commit ?? connection.send("commit"))
  return result
}
