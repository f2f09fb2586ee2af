import { expect, test } from "bun:test"
import { absoluteText, dateText, daysUntil, durationText, relativeText } from "./time"

const now = new Date("2026-03-12T09:30:00Z")
const shifted = (milliseconds: number) => new Date(now.getTime() + milliseconds)
const HOUR = 3_600_000
const DAY = 24 * HOUR

test("a length of time is told in its largest whole unit", () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [HOUR, "1 h"],
    [47 * HOUR, "47 h"],
    [2 * DAY, "2 days"],
    [119 * DAY, "119 days"],
    [200 * DAY, "6 months"],
    [800 * DAY, "2 years"],
  ]
  for (const [length, text] of cases) expect(durationText(length)).toBe(text)
})

test("a moment is ahead, past or now", () => {
  expect(relativeText(shifted(23 * DAY), now)).toBe("in 23 days")
  expect(relativeText(shifted(-3 * HOUR), now)).toBe("3 h ago")
  expect(relativeText(shifted(-4000), now)).toBe("just now")
})

test("dates are UTC and leave out this year", () => {
  expect(dateText(new Date("2026-01-12T23:59:59Z"), now)).toBe("12 Jan")
  expect(dateText(new Date("2027-01-12T00:00:00Z"), now)).toBe("12 Jan 2027")
  expect(absoluteText(now)).toBe("12 Mar 2026 09:30:00 UTC")
})

test("a day counts only when it is whole, and past days are negative", () => {
  expect(daysUntil(shifted(2 * DAY - 1), now)).toBe(1)
  expect(daysUntil(shifted(-1), now)).toBe(-1)
})
