/** Times of BEGIN that are judged together. */
const windowSize = 32
const fewest = 2
/** Until more is known. */
const atFirst = 4
/** Milliseconds that a BEGIN may take longer than at best before transactions are said to wait for each other. */
const congestedMs = 8
const calmMs = 4
/** A best time of long ago is forgotten by this part with each window: the way to the database may have changed. */
const forgetting = 0.02

/**
 * How many transactions run at a time. Statements of all of them pass through one thread here and few cores there: where these are
 * the bottleneck, more transactions at a time are done no sooner, and who only looks waits behind them; where the network is, they
 * are. A BEGIN does nothing but travel and wait, so the time it takes tells which.
 */
export class TransactionLimit {
  readonly #most: number
  #now: number
  #best = Number.POSITIVE_INFINITY
  #sum = 0
  #count = 0

  constructor(most: number) {
    this.#most = most
    this.#now = Math.min(most, atFirst)
  }

  get now(): number {
    return this.#now
  }

  /** Hears how long a BEGIN took, in milliseconds, on a connection that was open already. */
  observe(beginMs: number): void {
    this.#sum += beginMs
    this.#count += 1
    if (this.#count < windowSize) return
    const mean = this.#sum / this.#count
    this.#sum = 0
    this.#count = 0
    this.#best = Math.min(mean, this.#best * (1 + forgetting))
    if (mean > this.#best + congestedMs) this.#now = Math.max(Math.min(this.#most, fewest), this.#now - 1)
    else if (mean < this.#best + calmMs) this.#now = Math.min(this.#most, this.#now + 1)
  }
}
