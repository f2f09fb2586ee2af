/** Times of BEGIN that are judged together. */
const windowSize = 32
const fewest = 2
/** Until more is known. */
const atFirst = 4
/**
 * Milliseconds that a BEGIN may take longer than at best before transactions are said to wait for each other, and below which they are
 * said not to: more while nobody urgent asks for anything, since as many as possible get most done.
 */
const bounds = { watched: { congested: 2, calm: 1 }, unwatched: { congested: 8, calm: 4 } } as const
/** The best time is that of so many to twice as many: the way to the database may change. */
const remembered = 512

/**
 * How many transactions run at a time. Statements of all of them pass through one thread here and few cores there: where these are
 * the bottleneck, more transactions at a time are done hardly sooner, and who only looks waits behind them; where the network is, they
 * are. A BEGIN does nothing but travel and wait, so the time it takes tells which.
 */
export class TransactionLimit {
  readonly #most: number
  #now: number
  #sum = 0
  #count = 0
  /** Of the times that are remembered, and of those since. */
  #best = Number.POSITIVE_INFINITY
  #bestSince = Number.POSITIVE_INFINITY
  #since = 0

  constructor(most: number) {
    this.#most = most
    this.#now = Math.min(most, atFirst)
  }

  get now(): number {
    return this.#now
  }

  /** Hears how long a BEGIN took, in milliseconds, on a connection that was open already, and whether anybody urgent was there lately. */
  observe(beginMs: number, isWatched: boolean): void {
    this.#remember(beginMs)
    this.#sum += beginMs
    this.#count += 1
    if (this.#count < windowSize) return
    const late = this.#sum / this.#count - Math.min(this.#best, this.#bestSince)
    this.#sum = 0
    this.#count = 0
    const { congested, calm } = bounds[isWatched ? "watched" : "unwatched"]
    if (late > congested) this.#now = Math.max(Math.min(this.#most, fewest), this.#now - 1)
    else if (late < calm) this.#now = Math.min(this.#most, this.#now + 1)
  }

  #remember(beginMs: number): void {
    this.#bestSince = Math.min(this.#bestSince, beginMs)
    this.#since += 1
    if (this.#since < remembered) return
    this.#best = this.#bestSince
    this.#bestSince = Number.POSITIVE_INFINITY
    this.#since = 0
  }
}
