/** At most so many events per key within a window that moves along. In memory, so per server process. */
import type { Clock } from "../clock"

const mostKeys = 100_000

export const slidingLimit = (clock: Clock, { most, windowMs }: { most: number; windowMs: number }) => {
  const times = new Map<string, number[]>()
  const recent = (key: string): number[] => {
    const since = clock.now().getTime() - windowMs
    return (times.get(key) ?? []).filter((at) => at > since)
  }
  return {
    /** Seconds until the next event is allowed; 0 now. */
    waitSeconds(key: string): number {
      const oldest = recent(key).at(-most)
      return oldest === undefined ? 0 : Math.max(1, Math.ceil((oldest + windowMs - clock.now().getTime()) / 1000))
    },
    add(key: string): void {
      const now = [...recent(key), clock.now().getTime()].slice(-most)
      times.delete(key)
      times.set(key, now)
      const eldest = times.keys().next().value
      if (times.size > mostKeys && eldest !== undefined) times.delete(eldest)
    },
  }
}

export type SlidingLimit = ReturnType<typeof slidingLimit>
