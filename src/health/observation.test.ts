import { describe, expect, test } from "bun:test"
import { freshMs, placeView } from "./observation.service"

const now = new Date("2026-05-01T12:00:00Z")
const minutesAgo = (minutes: number) => new Date(now.getTime() - minutes * 60_000)
const seen = (kind: "served" | "delivered", fingerprint: string, minutes: number, ok = true) => ({
  kind,
  fingerprint,
  ok,
  detail: "",
  observedAt: minutesAgo(minutes),
})
const stateOf = (...newest: ReturnType<typeof seen>[]) => placeView(newest, "new", now).state

describe("the state of a place", () => {
  test("is unknown until something was seen there", () => {
    expect(stateOf()).toBe("unknown")
    expect(placeView([seen("served", "new", 1)], null, now).state).toBe("unknown")
  })

  test("is verified when the wire shows the version, also when the delivery was reported a moment later", () => {
    expect(stateOf(seen("served", "new", 1))).toBe("verified")
    expect(stateOf(seen("served", "new", 2), seen("delivered", "new", 1))).toBe("verified")
  })

  test("is only delivered while the wire was last looked at before the delivery", () => {
    expect(stateOf(seen("served", "old", 60), seen("delivered", "new", 1))).toBe("delivered")
    expect(stateOf(seen("served", "", 60, false), seen("delivered", "new", 1))).toBe("delivered")
  })

  test("is a mismatch when something else is served after the delivery", () => {
    expect(stateOf(seen("delivered", "new", 5), seen("served", "old", 1, false))).toBe("mismatch")
  })

  test("is a mismatch when an older version was put back after the proof", () => {
    expect(stateOf(seen("served", "new", 60), seen("delivered", "old", 1))).toBe("mismatch")
  })

  test("is failed when the newest deployment or the newest look failed", () => {
    expect(stateOf(seen("served", "old", 60), seen("delivered", "", 1, false))).toBe("failed")
    expect(stateOf(seen("delivered", "new", 5), seen("served", "", 1, false))).toBe("failed")
  })

  test("turns stale by itself", () => {
    const old = freshMs / 60_000 + 1
    expect(stateOf(seen("served", "new", old))).toBe("stale")
    expect(stateOf(seen("delivered", "new", old))).toBe("stale")
  })
})
