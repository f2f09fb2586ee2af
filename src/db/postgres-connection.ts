/**
 * One PostgreSQL connection that is used until its first sign of trouble and then thrown away. `postgres` reconnects a client by
 * itself, and a statement sent at that moment would run outside its transaction (postgres issues 1066, 1186, 1216), so a client
 * here never lives longer than its connection.
 */

import { drizzle } from "drizzle-orm/postgres-js"
import postgres, { type Sql } from "postgres"
import { AppError, messageOf } from "../errors"
import { isUrgent } from "../urgency"
import type { Query, Tx } from "./db"
import { withoutQueryErrors } from "./errors"
import type { GivingWay } from "./giving-way"
import { demandTurn, type Turn } from "./guard"

/** No query for array types at connect (nothing uses them); connections live until they break; a failed connect fails at once. */
const clientOptions = {
  max: 1,
  onnotice: () => undefined,
  connect_timeout: 5,
  idle_timeout: 0,
  max_lifetime: null,
  fetch_types: false,
  backoff: () => 0.1,
  connection: { application_name: "certctl" },
} as const

export const connectLazily = (url: string, onclose?: () => void): Sql =>
  postgres(url, onclose === undefined ? clientOptions : { ...clientOptions, onclose })

const connectionLost = (cause?: unknown): AppError =>
  new AppError(
    "unavailable",
    cause === undefined ? "the database connection was lost" : `the database is not available: ${messageOf(cause)}`,
    { cause },
  )

/** What the server reported, without what it quotes: `detail` and `where` print rows, and with them sealed secrets. */
const withoutValues = (error: postgres.PostgresError): postgres.PostgresError => {
  for (const key of ["detail", "where", "internal_query", "query", "parameters", "args"])
    Reflect.deleteProperty(error, key)
  return error
}

/** A client's outage has a code in capitals (ECONNREFUSED, CONNECTION_CLOSED); a value it cannot send is a bug of ours. */
const isOutage = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  typeof error.code === "string" &&
  /^(E[A-Z]+|CONNECT.*)$/.test(error.code)

interface SendOptions {
  readonly prepare?: boolean
  /** A prepared statement is planned for its values each time: what it is about may be one row or a million. */
  readonly planAnew?: boolean
}

/** The part of `postgres` that drizzle uses: `unsafe(…)`, awaited as it is or after `.values()`. */
type Send = (
  text: string,
  parameters: unknown[],
  options: SendOptions | undefined,
  asArrays: boolean,
) => Promise<unknown>

/** `drizzle` on a client of our own making. */
export const builderOver = (options: Sql["options"], send: Send): Query => {
  const client = {
    options,
    unsafe(text: string, parameters: unknown[] = [], sendOptions?: SendOptions) {
      let asArrays = false
      // Nothing is sent before it is awaited, exactly once: so do the queries of `postgres`.
      const statement = {
        values() {
          asArrays = true
          return statement
        },
        // biome-ignore lint/suspicious/noThenProperty: drizzle awaits what unsafe() returns, before or after values().
        then: (resolve: (rows: unknown) => unknown, reject: (error: unknown) => unknown) =>
          send(text, parameters, sendOptions, asArrays).then(resolve, reject),
      }
      return statement
    },
  }
  const builder = drizzle({ client: client as unknown as Sql })
  withoutQueryErrors(builder._.session)
  return builder as unknown as Query
}

/** Rows that it locks are free again when it ends, should it ever be outside of a transaction. */
const isRead = (text: string): boolean => text.startsWith("select ")

export class PostgresConnection {
  readonly #sql: Sql
  readonly tx: Tx
  turn: Turn | undefined
  #end: { readonly error: unknown } | undefined
  #hasAnswered = false
  #begun: Promise<unknown> | undefined
  #plansAnew = false
  /** Reject functions of what is under way. Not one promise raced by everything: it would collect a reaction per statement. */
  readonly #waiting = new Set<(error: unknown) => void>()

  /** @param givingWay what statements of transactions wait for that nobody waits for */
  constructor(url: string, givingWay: Pick<GivingWay, "over">) {
    this.#sql = connectLazily(url, () => this.abandon(connectionLost()))
    this.tx = builderOver(this.#sql.options, async (text, parameters, options, asArrays) => {
      const turn = demandTurn(this.turn)
      try {
        if (givingWay.over !== undefined && !isUrgent()) await givingWay.over
        if (this.#begun !== undefined && !isRead(text)) await this.#begun
        const answer = this.send(text, parameters, options, asArrays)
        if (turn.endsWithNext) this.#commit(turn)
        return await answer
      } catch (error) {
        turn.failure ??= { error }
        throw error
      }
    }) as Tx
  }

  get isDead(): boolean {
    return this.#end !== undefined
  }

  /** It has answered before: what is sent now is not kept waiting by its being opened. */
  get isOpen(): boolean {
    return this.#hasAnswered
  }

  /** Makes everything under way on this connection fail with `error`, and the connection unfit for anything else. */
  abandon(error: unknown): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    for (const reject of this.#waiting) reject(error)
    this.#waiting.clear()
  }

  /** What `work` gives, or the reason why the connection was abandoned, whichever comes first. */
  async whileAlive<R>(work: Promise<R>): Promise<R> {
    if (this.#end !== undefined) {
      work.catch(() => undefined) // fails for the same reason
      throw this.#end.error
    }
    const { promise: abandoned, reject } = Promise.withResolvers<never>()
    this.#waiting.add(reject)
    try {
      return await Promise.race([work, abandoned])
    } finally {
      this.#waiting.delete(reject)
    }
  }

  /**
   * Sends BEGIN, and with it the first reads: nothing else is sent before it has taken effect. Resolves with that; where it fails, so does
   * everything that is sent later.
   */
  begin(): Promise<void> {
    const begun = this.send("begin").then(
      () => (this.#begun = undefined),
      (error: unknown) => {
        this.abandon(error)
        throw error
      },
    )
    this.#begun = begun
    return begun
  }

  /** Goes out with the statement before it. Where that fails, COMMIT is a rollback; later ones would be outside of the transaction. */
  #commit(turn: Turn): void {
    turn.running = false
    turn.commit = this.send("commit")
    turn.commit.catch(() => undefined) // waited for at the end
  }

  async send(text: string, parameters: unknown[] = [], options?: SendOptions, asArrays = false): Promise<unknown> {
    if (this.#end !== undefined) throw this.#end.error
    this.#planAnew(options?.planAnew === true)
    const pending = this.#sql.unsafe(text, parameters as never[], options)
    // Errors below FATAL leave the connection as it was. After any other nobody knows what state it is in.
    const rows = (asArrays ? pending.values() : pending).then(
      (value: unknown) => {
        this.#hasAnswered = true
        return value
      },
      (error: unknown) => {
        if (error instanceof postgres.PostgresError) {
          withoutValues(error)
          if (error.severity === "ERROR") throw error
          this.abandon(connectionLost(error))
        } else {
          this.abandon(isOutage(error) ? connectionLost(error) : error)
        }
        throw this.#end?.error
      },
    )
    return await this.whileAlive(rows)
  }

  /** Goes out with what is sent next. */
  #planAnew(plansAnew: boolean): void {
    if (this.#plansAnew === plansAnew) return
    this.#plansAnew = plansAnew
    this.#sql
      .unsafe(`set plan_cache_mode = ${plansAnew ? "force_custom_plan" : "auto"}`)
      .catch((error: unknown) => this.abandon(connectionLost(error)))
  }

  /** Closes the socket. The server rolls back what was not committed. */
  async destroy(timeoutSeconds = 0): Promise<void> {
    this.abandon(connectionLost())
    await this.#sql.end({ timeout: timeoutSeconds })
  }
}
