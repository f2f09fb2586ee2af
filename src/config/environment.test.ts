import { expect, test } from "bun:test"
import fc from "fast-check"
import { parseGoDuration } from "./environment"

test.each([
  ["0", 0],
  ["+0", 0],
  ["0s", 0],
  ["1s", 1000],
  ["1.5h", 5_400_000],
  [".5s", 500],
  ["1.s", 1000],
  ["1h30m", 5_400_000],
  ["2h45m30.5s", 9_930_500],
  ["-1m", -60_000],
  ["168h", 604_800_000],
  ["250ms", 250],
  ["1500us", 2],
  ["1500µs", 2],
  ["1500μs", 2],
  ["2000000ns", 2],
  ["1m1m", 120_000],
])("%p is %p milliseconds", (text, expected) => {
  expect(parseGoDuration(text)).toBe(expected)
})

test.each([
  "",
  "1",
  "s",
  ".s",
  "1d",
  "1 s",
  " 1s",
  "1s ",
  "1S",
  "--1s",
  "1s-1m",
  "1,5s",
  "1e3s",
  "Infinityh",
  "3000000h",
  "1s\n",
])("%p is no duration", (text) => {
  expect(parseGoDuration(text)).toBeNull()
})

test("hours, minutes, seconds and milliseconds add up", () => {
  const part = fc.integer({ min: 0, max: 10_000 })
  fc.assert(
    fc.property(part, part, part, part, (h, m, s, ms) => {
      expect(parseGoDuration(`${h}h${m}m${s}s${ms}ms`)).toBe(((h * 60 + m) * 60 + s) * 1000 + ms)
    }),
  )
})

test("any text is a finite number or no duration", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const value = parseGoDuration(text)
      expect(value === null || Number.isSafeInteger(value)).toBe(true)
    }),
  )
})
