/** What the database refuses, in words for whoever asked. */
import type { AppError } from "../errors"
import { type Problem, problemOf } from "./errors"

/**
 * Runs a change and answers the database's refusals with the given errors; anything else passes. Goes around a transaction,
 * never inside one: on PostgreSQL a failed statement is the end of it.
 */
export const explainRefusals = async <R>(
  words: Partial<Record<Problem, () => AppError>>,
  change: () => Promise<R>,
): Promise<R> => {
  try {
    return await change()
  } catch (error) {
    const problem = problemOf(error)
    const explain = problem === null ? undefined : words[problem]
    throw explain === undefined ? error : explain()
  }
}
