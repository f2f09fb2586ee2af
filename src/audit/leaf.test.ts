import { expect, test } from "bun:test"
import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { canonicalJson, leafHash } from "./leaf"

test("canonical JSON does not depend on the order of keys and parses to the same value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value)
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
      const shuffled = (inner: unknown): unknown =>
        Array.isArray(inner)
          ? inner.map(shuffled)
          : typeof inner === "object" && inner !== null
            ? Object.fromEntries(
                Object.entries(inner)
                  .reverse()
                  .map(([key, member]) => [key, shuffled(member)]),
              )
            : inner
      expect(canonicalJson(shuffled(value))).toBe(text)
    }),
  )
})

test("keys are sorted by UTF-16 code units, as RFC 8785 section 3.2.3 has it", () => {
  const keys = ["\u20ac", "\r", "\ufb33", "1", "\u{1f600}", "\u0080", "\u00f6"]
  const sorted = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\u{1f600}", "\ufb33"]
  const text = canonicalJson(Object.fromEntries(keys.map((key) => [key, 0])))
  expect(text).toBe(`{${sorted.map((key) => `${JSON.stringify(key)}:0`).join(",")}}`)
})

test("keys that objects keep in an order of their own are sorted too", () => {
  expect(canonicalJson({ b: [{ "10": 1, "9": 2, a: 3 }], a: null })).toBe('{"a":null,"b":[{"10":1,"9":2,"a":3}]}')
  expect(canonicalJson(JSON.parse('{"z":1,"__proto__":{"y":2}}'))).toBe('{"__proto__":{"y":2},"z":1}')
  expect(canonicalJson({ b: undefined, a: [undefined] })).toBe('{"a":[null]}')
})

test("a leaf is SHA-256 over a zero byte and the event", () => {
  const event = {
    id: "audit-1",
    actor: "ops",
    actorType: "User",
    action: "certificate_created",
    resourceType: "certificate",
    resourceId: "mc-1",
    details: { b: 1, a: "ä" },
    timestamp: new Date("2026-03-01T12:00:00.123Z"),
  } as const
  const text =
    '{"action":"certificate_created","actor":"ops","actor_type":"User","details":{"a":"ä","b":1},"id":"audit-1",' +
    '"resource_id":"mc-1","resource_type":"certificate","timestamp":"2026-03-01T12:00:00.123Z"}'
  expect(leafHash(event)).toBe(createHash("sha256").update(`\0${text}`).digest("hex"))
  expect(leafHash({ ...event, resourceId: "mc-2" })).not.toBe(leafHash(event))
})
