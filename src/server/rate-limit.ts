/** Token buckets, one per key name or address: `burst` requests at once, then `perSecond`. In memory, so per server process. */
import type { Clock } from "../clock"

export interface RateLimit {
  /** Tokens that come back per second. */
  readonly perSecond: number
  /** Size of the bucket. */
  readonly burst: number
}

interface Bucket {
  tokens: number
  /** Milliseconds, by the clock. */
  filledAt: number
}

/** A bucket that nobody used for so long is full again at any sensible rate. */
const idleMs = 600_000
const mostBuckets = 100_000

export const rateLimiter = (clock: Clock, most = mostBuckets) => {
  // In order of last use: the oldest come first.
  const buckets = new Map<string, Bucket>()
  const forgetOld = (now: number): void => {
    for (const [key, bucket] of buckets) {
      if (buckets.size <= most && now - bucket.filledAt < idleMs) return
      buckets.delete(key)
    }
  }
  return {
    /** Takes one token; false when there is none. */
    take(key: string, { perSecond, burst }: RateLimit): boolean {
      const now = clock.now().getTime()
      const former = buckets.get(key)
      // A clock that was set back gives nothing, and takes nothing.
      const passedMs = former === undefined ? 0 : Math.max(0, now - former.filledAt)
      const filled = former === undefined ? burst : Math.min(burst, former.tokens + (passedMs / 1000) * perSecond)
      const allowed = filled >= 1
      buckets.delete(key)
      buckets.set(key, { tokens: allowed ? filled - 1 : filled, filledAt: now })
      forgetOld(now)
      return allowed
    },
    size: () => buckets.size,
  }
}

export type RateLimiter = ReturnType<typeof rateLimiter>
