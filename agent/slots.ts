/** How many jobs are worked on at once. Who only waits (for a service to settle, for a probe) does so without a slot. */
export interface WorkSlots {
  /** Runs the task as soon as a slot is free, in the order of the calls. */
  use<R>(task: () => Promise<R>): Promise<R>
}

export const workSlots = (count: number): WorkSlots => {
  let free = count
  const waiting: (() => void)[] = []
  return {
    async use(task) {
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      try {
        return await task()
      } finally {
        // Handed on, not given back: nobody can come in between.
        const next = waiting.shift()
        if (next === undefined) free++
        else next()
      }
    },
  }
}
