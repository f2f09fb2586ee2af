import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { effectiveThresholds, pauseAfterFailuresMs, renewalPoint, statusByDate } from "./renewal-point"

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const issuedAt = new Date("2030-01-01T00:00:00.000Z")
const later = (ms: number) => new Date(issuedAt.getTime() + ms)

const lifetime = fc.integer({ min: hourMs, max: 3650 * dayMs })
const id = fc.uuid().map((text) => `mc-${text}`)
const windowDays = fc.integer({ min: 1, max: 398 })

/** The longest that can be left of the lifetime when a certificate is due. */
const windowOf = (days: number, lifetimeMs: number): number =>
  Math.min(days * dayMs, lifetimeMs < 10 * dayMs ? lifetimeMs / 2 : lifetimeMs / 3)

describe("the renewal point", () => {
  test("lies within the window, and leaves at least nine tenths of it, from one hour to ten years", () => {
    fc.assert(
      fc.property(id, windowDays, lifetime, (certificateId, days, lifetimeMs) => {
        const notAfter = later(lifetimeMs)
        const leftMs = notAfter.getTime() - renewalPoint(certificateId, days, { issuedAt, notAfter }).getTime()
        const windowMs = windowOf(days, lifetimeMs)
        expect(leftMs).toBeLessThanOrEqual(windowMs + 1)
        expect(leftMs).toBeGreaterThanOrEqual(Math.floor(windowMs * 0.9))
      }),
    )
  })

  test("is never before the certificate was issued", () => {
    fc.assert(
      fc.property(id, windowDays, fc.integer({ min: -dayMs, max: dayMs }), (certificateId, days, lifetimeMs) => {
        const point = renewalPoint(certificateId, days, { issuedAt, notAfter: later(lifetimeMs) })
        expect(point.getTime()).toBeGreaterThanOrEqual(Math.min(issuedAt.getTime(), later(lifetimeMs).getTime()))
      }),
    )
  })

  test("is the same each time it is asked for", () => {
    const validity = { issuedAt, notAfter: later(90 * dayMs) }
    expect(renewalPoint("mc-1", 30, validity)).toEqual(renewalPoint("mc-1", 30, validity))
  })

  test("spreads a fleet that was issued in one minute over a tenth of the window", () => {
    const validity = { issuedAt, notAfter: later(90 * dayMs) }
    const points = Array.from({ length: 1000 }, (_, n) => renewalPoint(`mc-${n}`, 30, validity).getTime())
    const tenths = new Map<number, number>()
    for (const point of points) {
      const tenth = Math.floor((point - later(60 * dayMs).getTime()) / (0.3 * dayMs))
      tenths.set(tenth, (tenths.get(tenth) ?? 0) + 1)
    }
    expect([...tenths.keys()].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    for (const count of tenths.values()) expect(count).toBeGreaterThan(50)
  })

  test("never brings ten thousand that were issued in one day together again", () => {
    // Any ids, also those that differ in their last digit only, and any lifetime: at most one in a hundred in the same minute of a
    // day's worth, or of whatever the tenth of the window is.
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), fc.constantFrom(1, 6, 47, 90, 365), (prefix, days) => {
        const spreadMs = windowOf(30, days * dayMs) / 10
        const slots = new Map<number, number>()
        for (let n = 0; n < 10_000; n += 1) {
          const validity = { issuedAt: later(n), notAfter: later(days * dayMs + n) }
          const point = renewalPoint(`mc-${prefix}${n}`, 30, validity).getTime()
          const slot = Math.floor(point / (spreadMs / 1000))
          slots.set(slot, (slots.get(slot) ?? 0) + 1)
        }
        // A thousand slots with ten each on average.
        expect(Math.max(...slots.values())).toBeLessThan(40)
        expect(slots.size).toBeGreaterThan(900)
      }),
      { numRuns: 10 },
    )
  })

  test.each([
    ["ten years", 3650, 30, 30],
    ["90 days", 90, 30, 30],
    ["47 days", 47, 30, 47 / 3],
    ["6 days", 6, 30, 3],
    ["one hour", 1 / 24, 30, 1 / 48],
    ["90 days under a policy of 10", 90, 10, 10],
  ])("of %s leaves the right share", (_what, days, policyDays, leftDays) => {
    const notAfter = later(days * dayMs)
    const left = (notAfter.getTime() - renewalPoint("mc-1", policyDays, { issuedAt, notAfter }).getTime()) / dayMs
    expect(left).toBeLessThanOrEqual(leftDays + 1e-6)
    expect(left).toBeGreaterThanOrEqual(leftDays * 0.9 - 1e-6)
  })
})

describe("what the dates make of a certificate", () => {
  const policy = { autoRenew: true, alertThresholdsDays: [30, 14, 7, 0] }
  const of90Days = { expiresAt: later(90 * dayMs), renewAt: later(60 * dayMs) }

  test("it is Active until it is due, then Expiring, then Expired", () => {
    expect(statusByDate(of90Days, policy, later(59 * dayMs))).toBe("Active")
    expect(statusByDate(of90Days, policy, later(60 * dayMs))).toBe("Expiring")
    expect(statusByDate(of90Days, policy, later(90 * dayMs))).toBe("Expired")
  })

  test("without automatic renewal the thresholds count as they are", () => {
    const manual = { autoRenew: false, alertThresholdsDays: [60] }
    expect(statusByDate({ ...of90Days, renewAt: null }, manual, later(31 * dayMs))).toBe("Expiring")
  })

  test("a short-lived certificate does not live in permanent alarm", () => {
    const ofSixDays = { expiresAt: later(6 * dayMs), renewAt: later(3 * dayMs) }
    expect(effectiveThresholds(ofSixDays, policy)).toEqual([1, 0])
    expect(statusByDate(ofSixDays, policy, later(dayMs))).toBe("Active")
  })
})

describe("the pause after failed runs", () => {
  test("doubles from an hour to a day, and never uses up more than a tenth of what is left", () => {
    expect([1, 2, 3, 9].map((failures) => pauseAfterFailuresMs(failures, 1000 * dayMs) / hourMs)).toEqual([1, 2, 4, 24])
    expect(pauseAfterFailuresMs(0, dayMs)).toBe(0)
    expect(pauseAfterFailuresMs(5, hourMs)).toBe(hourMs / 10)
    // Expired already: it must heal, at most an hour later.
    expect(pauseAfterFailuresMs(5, -dayMs)).toBe(hourMs)
  })
})
