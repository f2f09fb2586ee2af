/** Compiled statements by their SQL text, and the check that runs before each execution. */

import type { Database, Statement } from "better-sqlite3"

/** Called around every execution: refuses it, or notes that it failed. */
export interface StatementGuard {
  before(): void
  failed(error: unknown): void
}

/** The part of better-sqlite3 that drizzle's session uses. */
interface GuardedStatement {
  run(...parameters: unknown[]): unknown
  get(...parameters: unknown[]): unknown
  all(...parameters: unknown[]): unknown
  raw(): Pick<GuardedStatement, "get" | "all">
}

// Lists of ids make new texts without end (`in (?, ?, ?)`). Starting over is cheaper than keeping an order of use.
const maxStatements = 1000

const guarded = (statement: Statement<unknown[]>, guard: StatementGuard): GuardedStatement => {
  const execute = <R>(run: () => R): R => {
    guard.before()
    try {
      return run()
    } catch (error) {
      guard.failed(error)
      throw error
    }
  }
  // The statement is shared by everybody who sends this text, so the mode must not outlive the call.
  const inRawMode = <R>(run: () => R): R =>
    execute(() => {
      statement.raw(true)
      try {
        return run()
      } finally {
        statement.raw(false)
      }
    })
  const raw = {
    get: (...parameters: unknown[]) => inRawMode(() => statement.get(...parameters)),
    all: (...parameters: unknown[]) => inRawMode(() => statement.all(...parameters)),
  }
  return {
    run: (...parameters) => execute(() => statement.run(...parameters)),
    get: (...parameters) => execute(() => statement.get(...parameters)),
    all: (...parameters) => execute(() => statement.all(...parameters)),
    raw: () => raw,
  }
}

/**
 * The text with each `?` as `+?`, which is the same value to everything but the planner. Where a parameter is compared with an indexed
 * column, a SQLite that is built with STAT4 compiles the statement anew whenever another value is bound, in case that value wants
 * another plan: 13 µs instead of 4 for an ordinary lookup, 100 instead of 30 where many indexes come into question. Here there are no
 * statistics by which it could choose.
 */
export const withStablePlan = (text: string): string =>
  text.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"|\?/g, (found) => (found === "?" ? "+?" : found))

/** A stand-in for the connection that drizzle prepares its statements on. `clear` after the schema changed. */
export const guardedStatements = (connection: Database, guard: StatementGuard) => {
  const statements = new Map<string, GuardedStatement>()
  return {
    prepare(text: string): GuardedStatement {
      const known = statements.get(text)
      if (known !== undefined) return known
      if (statements.size >= maxStatements) statements.clear()
      try {
        const statement = guarded(connection.prepare<unknown[]>(withStablePlan(text)), guard)
        statements.set(text, statement)
        return statement
      } catch (error) {
        guard.failed(error)
        throw error
      }
    },
    clear: () => statements.clear(),
  }
}
