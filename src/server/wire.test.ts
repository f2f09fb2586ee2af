import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { optionalTime, readTime, requiredTime, withoutAbsent, zeroTimestamp } from "./wire"

test("a required time without a value is the zero timestamp", () => {
  expect(requiredTime(null)).toBe("0001-01-01T00:00:00Z")
  expect(requiredTime(new Date("1999-12-31T23:59:59Z"))).toBe(zeroTimestamp)
  expect(requiredTime(new Date("2026-01-02T03:04:05.678Z"))).toBe("2026-01-02T03:04:05.678Z")
})

test("an optional time without a value has no key", () => {
  expect(JSON.stringify({ at: optionalTime(null) })).toBe("{}")
  expect(JSON.stringify({ at: optionalTime(new Date(0)) })).toBe("{}")
})

test("absent values have no key, empty ones stay", () => {
  expect(withoutAbsent({ a: null, b: undefined, c: "", d: 0, e: false })).toEqual({ c: "", d: 0, e: false })
})

test("reads RFC 3339 with offsets and fractions", () => {
  expect(readTime("2026-01-02T03:04:05+02:00")?.toISOString()).toBe("2026-01-02T01:04:05.000Z")
  expect(readTime("2026-01-02t03:04:05.123456789z")?.toISOString()).toBe("2026-01-02T03:04:05.123Z")
  for (const text of ["", "2026-01-02", "yesterday", "2026-13-02T00:00:00Z", "2026-01-02 03:04:05Z", "1767322245"]) {
    expect(readTime(text)).toBeNull()
  }
})

test("every time survives the wire", () => {
  fc.assert(
    fc.property(fc.date({ min: new Date("2000-01-01"), max: new Date("9999-01-01"), noInvalidDate: true }), (date) => {
      expect(readTime(requiredTime(date))).toEqual(date)
    }),
  )
})
