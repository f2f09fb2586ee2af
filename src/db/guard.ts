/**
 * Keeps transactions to themselves. Each runs in its own async context; a statement from any other context, a second
 * transaction or a plain read inside one, and anything that wakes up after the end are refused. Without it SQLite's writer and
 * PostgreSQL's pool would wait for themselves, and a late statement would land in somebody else's transaction.
 */

import { AsyncLocalStorage } from "node:async_hooks"
import { AppError } from "../errors"
import type { Gatherer, Tx } from "./db"

export interface Signal {
  readonly topic: string
  readonly payload: string
}

/** One run of one transaction. */
export class Turn {
  running = true
  /** The first statement error. PostgreSQL aborts the transaction at that point; SQLite is held to the same rule. */
  failure: { readonly error: unknown } | undefined
  readonly effects: (() => void)[] = []
  readonly #gathered = new Map<Gatherer<never>, unknown[]>()
  readonly signals: Signal[] = []
  /** The next statement is the last one. */
  endsWithNext = false
  /** COMMIT, where it went out with the last statement. */
  commit: Promise<unknown> | undefined

  constructor(readonly tx: Tx) {}

  gather<T>(write: Gatherer<T>, items: readonly T[]): void {
    const known = this.#gathered.get(write)
    if (known === undefined) this.#gathered.set(write, [...items])
    else known.push(...items)
  }

  /** The last thing a transaction does. */
  async writeGathered(): Promise<void> {
    for (const [write, items] of this.#gathered) {
      this.#gathered.delete(write)
      const isLast = this.#gathered.size === 0
      await write(this.tx, items as never[], isLast ? () => (this.endsWithNext = true) : undefined)
    }
  }
}

const turns = new AsyncLocalStorage<Turn>()

/**
 * A returned query builder would execute where it is awaited, outside the context, so it is awaited inside. A `run` that throws
 * before its first await rejects like any other.
 */
export const inTurn = <R>(turn: Turn, run: (tx: Tx) => Promise<R>): Promise<R> =>
  turns.run(turn, async () => {
    const result = await run(turn.tx)
    // Where a statement has failed, the first failure is the one to be told.
    if (turn.failure === undefined) await turn.writeGathered()
    return result
  })

/** Throws unless the caller runs inside `turn` and may still send statements. */
export const demandTurn = (turn: Turn | undefined): Turn => {
  if (turn === undefined || !turn.running || turns.getStore() !== turn) {
    throw new Error(
      "a transaction was used outside of its run: something in it was not awaited, or its deadline passed",
    )
  }
  if (turn.failure !== undefined) {
    throw new Error("a statement of this transaction failed before: it can only roll back", {
      cause: turn.failure.error,
    })
  }
  return turn
}

/** The running transaction that `tx` belongs to. */
export const turnOf = (tx: Tx): Turn => {
  const turn = turns.getStore()
  if (turn === undefined || !turn.running || turn.tx !== tx) {
    throw new Error("tx does not belong to the transaction that is running here")
  }
  return turn
}

export const refuseInsideTransaction = (what: string): void => {
  if (turns.getStore()?.running) throw new Error(`${what} inside a transaction: use its tx`)
}

/** The message says what to look for: nearly always something other than `tx` was awaited. */
export const deadlineError = (milliseconds: number): AppError =>
  new AppError("unavailable", `the database transaction took longer than ${milliseconds} ms and was rolled back`)
