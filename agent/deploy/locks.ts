/** Mutual exclusion by name inside the process: two deployments never write the same file at once. */

const tails = new Map<string, Promise<void>>()

/** Runs `task` while it holds every name. Names are taken in sorted order, so two tasks cannot wait for each other. */
export const withLocks = async <R>(names: readonly string[], task: () => Promise<R>): Promise<R> => {
  const releases: (() => void)[] = []
  try {
    for (const name of [...new Set(names)].sort()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const before = tails.get(name)
      tails.set(name, promise)
      releases.push(() => {
        if (tails.get(name) === promise) tails.delete(name)
        resolve()
      })
      await before
    }
    return await task()
  } finally {
    for (const release of releases) release()
  }
}
