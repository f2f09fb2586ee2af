/** Longest that anybody gives way at a time: a query that takes longer is not helped by it. */
const longestMs = 20

/**
 * Who is patient sends nothing while somebody urgent waits for the database: statements that are under way share few cores there, and one
 * thread here, and each makes all others later. As long as they have given way, they go on unhindered afterwards, so that however much is
 * looked at, half of the time is theirs.
 */
export class GivingWay {
  #urgent = 0
  #pause: { readonly over: Promise<void>; readonly end: () => void } | undefined
  #nextPauseAt = 0

  /** Somebody urgent sends something. */
  begin(): void {
    this.#urgent += 1
    const now = performance.now()
    if (this.#pause !== undefined || now < this.#nextPauseAt) return
    const { promise: over, resolve } = Promise.withResolvers<void>()
    const end = (): void => {
      clearTimeout(timer)
      const endedAt = performance.now()
      this.#nextPauseAt = endedAt + (endedAt - now)
      this.#pause = undefined
      resolve()
    }
    const timer = setTimeout(end, longestMs)
    this.#pause = { over, end }
  }

  /** Has an answer. */
  end(): void {
    this.#urgent -= 1
    if (this.#urgent === 0) this.#pause?.end()
  }

  /** What who is patient waits for before a statement; undefined where nobody is to be waited for. */
  get over(): Promise<void> | undefined {
    return this.#pause?.over
  }
}
