import { expect, test } from "bun:test"
import { evidenceOf } from "./evidence"
import { freshMs } from "./observation.service"

const now = new Date("2030-05-01T12:00:00Z")
const ago = (ms: number) => new Date(now.getTime() - ms)
const seen = (changes: Partial<Parameters<typeof evidenceOf>[0] & object> = {}) => ({
  fingerprint: "aa",
  ok: true,
  detail: "",
  observer: "agent-1",
  observedAt: ago(60_000),
  ...changes,
})
const earlier = new Set(["00"])
const stateOf = (newest: Parameters<typeof evidenceOf>[0], expected: string | null = "aa") =>
  evidenceOf(newest, expected, earlier, now).state

test("is confirmed only by a fresh sight of the very version that should be there", () => {
  expect(stateOf(seen())).toBe("confirmed")
  expect(stateOf(seen({ observedAt: ago(freshMs) }))).toBe("confirmed")
  expect(stateOf(seen({ observedAt: ago(freshMs + 1) }))).toBe("stale")
  expect(stateOf(seen({ fingerprint: "00" }))).toBe("outdated")
  expect(stateOf(seen({ fingerprint: "bb" }))).toBe("mismatch")
  expect(stateOf(seen({ ok: false }))).toBe("mismatch")
})

test("is missing where nobody looked, where nothing was seen and where nothing was issued", () => {
  expect(stateOf(undefined)).toBe("missing")
  expect(stateOf(seen(), null)).toBe("missing")
  const refused = evidenceOf(seen({ fingerprint: "", ok: false, detail: "connection refused" }), "aa", earlier, now)
  expect(refused).toEqual({ state: "missing", observedAt: null, observer: "agent-1", detail: "connection refused" })
})
