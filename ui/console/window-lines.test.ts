import { expect, test } from "bun:test"
import fc from "fast-check"
import { weekdays } from "../../src/rollouts/deployment-window"
import { windowLines, windowsIn } from "./window-lines"

const weekend = { days: ["sat", "sun"], from: "22:00", to: "04:00" }

test("windows are typed as lines", () => {
  expect(windowsIn(["sat,sun 22:00-04:00", "Sat, Sun  22:00 - 04:00"])).toEqual([weekend, weekend])
  expect(
    windowsIn(["mon-wed 01:00-02:00", "sat-mon 01:00-02:00", "daily 01:00-02:00"]).map(({ days }) => days),
  ).toEqual([["mon", "tue", "wed"], ["sat", "sun", "mon"], [...weekdays]])
})

test("a line that says nothing of the kind is left to be refused", () => {
  expect(windowsIn(["someday 22:00-04:00"])).toEqual([{ days: ["someday"], from: "22:00", to: "04:00" }])
  expect(windowsIn(["at night"])).toEqual([{ days: ["atnight"], from: "", to: "" }])
})

test("what is shown means the same when it is typed", () => {
  const window = fc.record({
    days: fc.subarray([...weekdays], { minLength: 1 }),
    from: fc.constant("01:30"),
    to: fc.constantFrom("01:00", "24:00"),
  })
  fc.assert(
    fc.property(fc.array(window, { minLength: 1 }), (windows) => {
      expect(windowsIn(windowLines({ timeZone: "UTC", windows }))).toEqual(windows)
    }),
  )
})
