import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  type DeploymentWindows,
  isTimeZone,
  isWindowOpen,
  longestShutMs,
  nextOpening,
  weekdays,
  windowHold,
} from "./deployment-window"

const at = (text: string) => new Date(text)
const windows = (timeZone: string, ...list: [days: string, from: string, to: string][]): DeploymentWindows => ({
  timeZone,
  windows: list.map(([days, from, to]) => ({ days: weekdays.filter((day) => days.includes(day)), from, to })),
})
const weekend = windows("Europe/Berlin", ["sat sun", "22:00", "04:00"])

describe("deployment windows", () => {
  const cases: [windows: DeploymentWindows, now: string, isOpen: boolean, opens: string][] = [
    // Saturday 22:00 in Berlin is 20:00 UTC in summer, 21:00 in winter.
    [weekend, "2026-07-04T19:59:59Z", false, "2026-07-04T20:00:00.000Z"],
    [weekend, "2026-07-04T20:00:00Z", true, "2026-07-04T20:00:00.000Z"],
    [weekend, "2026-12-05T20:59:00Z", false, "2026-12-05T21:00:00.000Z"],
    // Monday until four: it began on Sunday.
    [weekend, "2026-07-06T01:59:00Z", true, "2026-07-06T01:59:00.000Z"],
    [weekend, "2026-07-06T02:00:00Z", false, "2026-07-11T20:00:00.000Z"],
    // The whole day, as it is there and not here.
    [windows("Asia/Tokyo", ["mon", "00:00", "24:00"]), "2026-07-05T15:00:00Z", true, "2026-07-05T15:00:00.000Z"],
    [windows("Asia/Tokyo", ["mon", "00:00", "24:00"]), "2026-07-06T15:00:00Z", false, "2026-07-12T15:00:00.000Z"],
    // 02:00 to 03:00 does not exist on the night when clocks go forward: the next one is a week later.
    [windows("Europe/Berlin", ["sun", "02:00", "03:00"]), "2026-03-28T12:00:00Z", false, "2026-04-05T00:00:00.000Z"],
    // One that goes on after it begins late by the clock.
    [windows("Europe/Berlin", ["sun", "02:30", "05:00"]), "2026-03-28T12:00:00Z", false, "2026-03-29T01:00:00.000Z"],
    // The hour that comes twice is open twice.
    [windows("Europe/Berlin", ["sun", "02:00", "03:00"]), "2026-10-25T01:30:00Z", true, "2026-10-25T01:30:00.000Z"],
    // The earlier of two.
    [
      windows("UTC", ["tue", "09:00", "10:00"], ["mon", "23:00", "01:00"]),
      "2026-07-06T12:00:00Z",
      false,
      "2026-07-06T23:00:00.000Z",
    ],
  ]
  for (const [given, now, isOpen, opens] of cases) {
    test(`${given.timeZone} ${JSON.stringify(given.windows)} at ${now}`, () => {
      expect(isWindowOpen(given, at(now))).toBe(isOpen)
      expect(nextOpening(given, at(now))?.toISOString()).toBe(opens)
    })
  }

  test("say how long they stay shut at most", () => {
    const hour = 3_600_000
    expect(longestShutMs(weekend)).toBe((7 * 24 - 30) * hour)
    expect(longestShutMs(windows("UTC", ["mon", "09:00", "10:00"]))).toBe((7 * 24 - 1) * hour)
    expect(longestShutMs(windows("UTC", [weekdays.join(" "), "00:00", "24:00"]))).toBe(0)
    expect(longestShutMs(windows("UTC", [weekdays.join(" "), "22:00", "06:00"]))).toBe(16 * hour)
    expect(longestShutMs(windows("UTC"))).toBe(Number.POSITIVE_INFINITY)
  })

  test("know the time zones of the runtime", () => {
    expect(["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"].map(isTimeZone)).toEqual([true, true, true])
    expect(["", "Europe/Nowhere", "../etc"].map(isTimeZone)).toEqual([false, false, false])
  })

  test("hold a job in the same words until they open", () => {
    const place = { targetName: "web-1", windows: weekend }
    const words = "outside the deployment windows of web-1: it may begin at 2026-07-04T20:00:00.000Z"
    expect(windowHold(place, at("2026-07-03T08:00:00Z"))).toBe(words)
    expect(windowHold(place, at("2026-07-04T19:59:00Z"))).toBe(words)
    expect(windowHold(place, at("2026-07-04T20:00:00Z"))).toBeNull()
    expect(windowHold({ ...place, windows: null }, at("2026-07-03T08:00:00Z"))).toBeNull()
  })

  test("are open when they say they open, and shut at every minute before", () => {
    const time = fc
      .integer({ min: 0, max: 95 })
      .map((q) => `${String(Math.floor(q / 4)).padStart(2, "0")}:${String((q % 4) * 15).padStart(2, "0")}`)
    const window = fc
      .record({ days: fc.subarray([...weekdays], { minLength: 1 }), from: time, to: time })
      .filter(({ from, to }) => from !== to)
    const given = fc.record({
      timeZone: fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"),
      windows: fc.array(window, { minLength: 1, maxLength: 3 }),
    })
    const year = fc.integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2026, 11, 31) }).map((ms) => new Date(ms))
    fc.assert(
      fc.property(given, year, (set, now) => {
        const opens = nextOpening(set, now)
        if (opens === null) throw new Error("it never opens")
        expect(isWindowOpen(set, opens)).toBe(true)
        expect(opens.getTime()).toBeGreaterThanOrEqual(now.getTime())
        // Clocks change by an hour at most here: a week has that much more or less.
        expect(opens.getTime() - now.getTime()).toBeLessThanOrEqual(longestShutMs(set) + 8 * 86_400_000)
        for (let before = now.getTime(); before < opens.getTime(); before += 900_000) {
          if (isWindowOpen(set, new Date(before))) throw new Error(`open at ${new Date(before).toISOString()} already`)
        }
      }),
      { numRuns: 150 },
    )
  })
})
