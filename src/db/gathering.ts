/** Calls that come at about the same time, worked together. */
import { AsyncLocalStorage } from "node:async_hooks"

export interface Gathering<I, R> {
  /** Most items of one set. */
  readonly most: number
  /** Sets at work at a time; while there are so many, the next one gathers. */
  readonly parallel: number
  /** Answers for the items, in their order. What it throws is thrown at everybody who waits for one of them. */
  readonly work: (items: readonly I[]) => Promise<readonly R[]>
}

interface Waiting<I, R> {
  readonly item: I
  readonly resolve: (answer: R) => void
  readonly reject: (error: unknown) => void
}

// Or a whole set would log under the request id of whoever happened to come first.
const detached = AsyncLocalStorage.snapshot()

/** A function of one item, which answers what `work` says of it. A set begins when all requests that have arrived were read. */
export const gathering = <I, R>({ most, parallel, work }: Gathering<I, R>): ((item: I) => Promise<R>) => {
  let waiting: Waiting<I, R>[] = []
  let atWork = 0
  let isScheduled = false

  const workSet = async (set: readonly Waiting<I, R>[]): Promise<void> => {
    try {
      const answers = await work(set.map(({ item }) => item))
      if (answers.length !== set.length) throw new Error(`${answers.length} answers for ${set.length} calls`)
      for (const [at, { resolve }] of set.entries()) resolve(answers[at] as R)
    } catch (error) {
      for (const { reject } of set) reject(error)
    }
  }

  const begin = (): void => {
    isScheduled = false
    while (waiting.length > 0 && atWork < parallel) {
      const set = waiting.slice(0, most)
      waiting = waiting.slice(most)
      atWork += 1
      void workSet(set).finally(() => {
        atWork -= 1
        schedule()
      })
    }
  }

  const schedule = (): void => {
    if (isScheduled || waiting.length === 0 || atWork >= parallel) return
    isScheduled = true
    detached(() => setImmediate(begin))
  }

  return (item) =>
    new Promise<R>((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      schedule()
    })
}
