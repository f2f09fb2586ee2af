/** Longest that anybody gives way at a time: a query that takes longer is not helped by it. */
const longestMs = 20
/** A pause that would be shorter is none. */
const shortestMs = 1

/**
 * Who is patient sends nothing while somebody urgent waits for the database: statements that are under way share few cores there, and one
 * thread here, and each makes all others later. In the long run half of the time is theirs, however much is looked at: what they have
 * given way is made up for before they give way for so long again.
 */
export class GivingWay {
  #urgent = 0
  #pause: { readonly over: Promise<void>; readonly end: () => void } | undefined
  /** How long they may be asked to, in milliseconds; grows with the time in which nobody asked. */
  #creditMs = longestMs
  #goingOnSince = 0

  /** Somebody urgent sends something. */
  begin(): void {
    this.#urgent += 1
    if (this.#pause !== undefined) return
    const now = performance.now()
    const creditMs = Math.min(longestMs, this.#creditMs + now - this.#goingOnSince)
    if (creditMs < shortestMs) return
    const { promise: over, resolve } = Promise.withResolvers<void>()
    const end = (): void => {
      if (this.#pause?.end !== end) return
      clearTimeout(timer)
      this.#goingOnSince = performance.now()
      this.#creditMs = Math.max(0, creditMs - (this.#goingOnSince - now))
      this.#pause = undefined
      resolve()
    }
    const timer = setTimeout(end, creditMs)
    this.#pause = { over, end }
  }

  /** Has an answer, and may at once ask for the next thing: what a request asks for is rarely one statement. */
  end(): void {
    this.#urgent -= 1
    const { end } = this.#pause ?? {}
    if (this.#urgent > 0 || end === undefined) return
    setImmediate(() => {
      if (this.#urgent === 0) end()
    })
  }

  /** What who is patient waits for before a statement; undefined where nobody is to be waited for. */
  get over(): Promise<void> | undefined {
    return this.#pause?.over
  }
}
