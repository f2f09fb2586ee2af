/** Tells apart the failures of a statement that a caller can answer; everything else is a bug or an outage. */

import { DrizzleError, DrizzleQueryError } from "drizzle-orm"

/**
 * `duplicate`: a unique value exists already. `reference`: a row that is referred to is missing, or others still refer to this
 * one. `check`: a value breaks a rule of the schema.
 */
export type Problem = "duplicate" | "reference" | "check"

const problems: Readonly<Record<string, Problem>> = {
  SQLITE_CONSTRAINT_UNIQUE: "duplicate",
  SQLITE_CONSTRAINT_PRIMARYKEY: "duplicate",
  SQLITE_CONSTRAINT_FOREIGNKEY: "reference",
  SQLITE_CONSTRAINT_CHECK: "check",
  SQLITE_CONSTRAINT_NOTNULL: "check",
  "23505": "duplicate",
  "23503": "reference",
  "23001": "reference",
  "23514": "check",
  "23502": "check",
}

/** What the driver reported. A DrizzleQueryError prints the parameters, so it must not travel further: its cause does. */
export const driverError = (error: unknown): unknown => {
  const wrapped = error instanceof DrizzleQueryError || error instanceof DrizzleError
  return wrapped && error.cause !== undefined ? driverError(error.cause) : error
}

/** DrizzleQueryError prints the parameters into its message. Where it would be made, the driver's error goes on instead. `session`: drizzle's. */
export const withoutQueryErrors = (session: object): void => {
  const target = session as { prepareQuery: (...facts: unknown[]) => object }
  const prepareQuery = target.prepareQuery.bind(target)
  target.prepareQuery = (...facts) =>
    Object.assign(prepareQuery(...facts), {
      queryWithCache: (_text: string, _parameters: unknown, query: () => Promise<unknown>) => query(),
    })
}

export const problemOf = (error: unknown): Problem | null => {
  const found = driverError(error)
  if (!(found instanceof Error) || !("code" in found) || typeof found.code !== "string") return null
  // SQLite reports `on delete restrict` as a trigger's refusal; a trigger of ours gives its own message.
  if (found.code === "SQLITE_CONSTRAINT_TRIGGER") return found.message.startsWith("FOREIGN KEY") ? "reference" : "check"
  return problems[found.code] ?? null
}
