/** Seen so often, a text is said to repeat. */
const often = 5
/** Of those that repeat, so many at most: what a connection has prepared, it keeps. */
const mostRepeated = 100
/** Texts that are counted at a time. */
const mostCounted = 1000
/** Longer texts are made for one occasion: a condition for each of many values. */
const longest = 4000

/**
 * Which texts of statements come again and again. `postgres` sends a statement with parameters in two steps, since it asks for their types
 * first, unless it is prepared; and it forgets none that it has prepared, so only the first hundred that repeat are.
 */
export class RepeatedStatements {
  readonly #repeated = new Set<string>()
  readonly #counts = new Map<string, number>()

  /** Counts `text`, and says whether it is to be prepared. */
  saw(text: string): boolean {
    if (this.#repeated.has(text)) return true
    if (this.#repeated.size >= mostRepeated || text.length > longest) return false
    const count = (this.#counts.get(text) ?? 0) + 1
    if (count >= often) {
      this.#counts.delete(text)
      this.#repeated.add(text)
      return true
    }
    if (count === 1 && this.#counts.size >= mostCounted) this.#counts.clear()
    this.#counts.set(text, count)
    return false
  }
}
