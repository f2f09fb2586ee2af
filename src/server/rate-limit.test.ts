import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { testClock } from "../testing/assembled-app"
import { rateLimiter } from "./rate-limit"

test("a bucket gives its burst at once and then its rate", () => {
  const clock = testClock()
  const limiter = rateLimiter(clock)
  const take = () => limiter.take("a", { perSecond: 2, burst: 3 })
  expect([take(), take(), take(), take()]).toEqual([true, true, true, false])
  clock.advance(500)
  expect([take(), take()]).toEqual([true, false])
  clock.advance(60_000)
  expect([take(), take(), take(), take()]).toEqual([true, true, true, false])
})

test("buckets do not share", () => {
  const limiter = rateLimiter(testClock())
  const limit = { perSecond: 1, burst: 1 }
  expect(limiter.take("a", limit)).toBe(true)
  expect(limiter.take("b", limit)).toBe(true)
  expect(limiter.take("a", limit)).toBe(false)
})

test("a clock that is set back gives no tokens", () => {
  const clock = testClock()
  const limiter = rateLimiter(clock)
  limiter.take("a", { perSecond: 1, burst: 1 })
  clock.advance(-3_600_000)
  expect(limiter.take("a", { perSecond: 1, burst: 1 })).toBe(false)
})

test("idle buckets are dropped, and there are never more than allowed", () => {
  const clock = testClock()
  const limiter = rateLimiter(clock, 10)
  const limit = { perSecond: 1, burst: 1 }
  for (let n = 0; n < 50; n += 1) limiter.take(`address ${n}`, limit)
  expect(limiter.size()).toBe(10)
  clock.advance(600_001)
  limiter.take("late", limit)
  expect(limiter.size()).toBe(1)
})

test("never lets more through than burst plus rate times time", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 200 }), (pauses) => {
      const clock = testClock()
      const limiter = rateLimiter(clock)
      let allowed = 0
      let passedMs = 0
      for (const pause of pauses) {
        clock.advance(pause)
        passedMs += pause
        if (limiter.take("a", { perSecond: 5, burst: 4 })) allowed += 1
      }
      expect(allowed).toBeLessThanOrEqual(4 + (passedMs / 1000) * 5 + 1e-6)
    }),
    { numRuns: 50 },
  )
})
