/** Orders, authorizations and challenges only move as RFC 8555 section 7.1.6 says, whatever is asked in whatever order. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { AcmeIdentifier } from "../db/tables/acme.tables"
import { authorizationMoves, challengeMoves, orderMoves, sourcesOf } from "./acme.machine"
import { problemDocument } from "./acme.problem"
import { leadingName, readIdentifiers } from "./identifiers"
import { readCertId, suggestedWindow } from "./renewal-info.service"
import { bounded } from "./validation"

const day = 86_400_000

describe("states", () => {
  const ends: readonly (readonly [Readonly<Record<string, readonly string[]>>, readonly string[]])[] = [
    [orderMoves, ["valid", "invalid"]],
    [challengeMoves, ["valid", "invalid"]],
    [authorizationMoves, ["invalid", "deactivated", "expired", "revoked"]],
  ]
  test("nothing leads out of an end, and everything but the beginning is led to", () => {
    for (const [moves, last] of ends) {
      for (const [state, next] of Object.entries(moves)) {
        expect([state, next.length === 0]).toEqual([state, last.includes(state)])
        expect([state, sourcesOf(moves, state).length === 0]).toEqual([state, state === "pending"])
      }
    }
  })

  test("an order is valid only after it was ready and processing", () => {
    expect(sourcesOf(orderMoves, "valid")).toEqual(["processing"])
    expect(sourcesOf(orderMoves, "processing")).toEqual(["ready"])
    expect(sourcesOf(orderMoves, "ready")).toEqual(["pending"])
  })
})

describe("problem documents", () => {
  test("tell strangers nothing of what nobody foresaw", () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        const { status, body } = problemDocument(thrown)
        expect([status, body]).toEqual([
          500,
          { type: "urn:ietf:params:acme:error:serverInternal", detail: "internal error", status: 500 },
        ])
      }),
    )
    expect(problemDocument(new Error("postgres://user:password@host/")).body.detail).toBe("internal error")
  })
})

describe("identifiers", () => {
  const names = fc.array(fc.domain(), { minLength: 1, maxLength: 10 })
  test("are in lower case, each once, in their order", () => {
    fc.assert(
      fc.property(names, (given) => {
        const asked = given.flatMap((value) => [
          { type: "dns", value },
          { type: "dns", value: value.toUpperCase() },
        ])
        const read = readIdentifiers(asked, []).map(({ value }: AcmeIdentifier) => value)
        expect(read).toEqual([...new Set(given.map((value) => value.toLowerCase()))])
      }),
    )
  })
  test("lead to the same name however they are ordered", () => {
    fc.assert(
      fc.property(names, (given) => {
        expect(leadingName(given)).toBe(leadingName([...given].reverse()))
        expect(given).toContain(leadingName(given))
      }),
    )
    expect(leadingName(["*.a.example", "www.a.example"])).toBe("www.a.example")
    expect(leadingName(["*.a.example"])).toBe("*.a.example")
  })
})

describe("renewal information", () => {
  test("reads the example of RFC 9773, and no other spelling", () => {
    expect(readCertId("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")).toEqual({
      aki: "69885b6b87464041e1b37b847ba0ae2cde01c8d4",
      serial: "87654321",
    })
    for (const odd of ["", ".", "AA.", ".AA", "AA", "AA.AA.AA", "AA=.AA", "AB.AA"])
      expect([odd, readCertId(odd)]).toEqual([odd, null])
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 20 }),
        fc.uint8Array({ minLength: 1, maxLength: 20 }),
        (aki, serial) => {
          const text = `${Buffer.from(aki).toString("base64url")}.${Buffer.from(serial).toString("base64url")}`
          expect(readCertId(text)?.aki).toBe(Buffer.from(aki).toString("hex"))
        },
      ),
    )
  })

  test("a window lies in the lifetime, not before its half, and never in the past", () => {
    const times = fc.record({
      lifetimeMs: fc.integer({ min: 60_000, max: 800 * day }),
      age: fc.double({ min: 0, max: 2, noNaN: true }),
      windowDays: fc.option(fc.integer({ min: 1, max: 365 })),
    })
    fc.assert(
      fc.property(times, ({ lifetimeMs, age, windowDays }) => {
        const createdAt = new Date(Date.UTC(2031, 0, 1))
        const notAfter = new Date(createdAt.getTime() + lifetimeMs)
        const now = new Date(Math.floor(createdAt.getTime() + lifetimeMs * age))
        const { start, end } = suggestedWindow({ createdAt, notAfter }, windowDays, now)
        expect(end.getTime()).toBeGreaterThan(now.getTime() - 1)
        expect(end.getTime()).toBeGreaterThanOrEqual(start.getTime())
        expect(start.getTime()).toBeGreaterThanOrEqual(createdAt.getTime() + Math.floor(lifetimeMs / 2) - 1)
      }),
    )
  })
})

describe("a bounded lane", () => {
  test("never runs more than it may, and everything comes through", async () => {
    const lane = bounded(3)
    let running = 0
    let most = 0
    const work = async (n: number) => {
      running += 1
      most = Math.max(most, running)
      await Promise.resolve()
      running -= 1
      if (n % 5 === 0) throw new Error("fails")
      return n
    }
    const results = await Promise.allSettled(Array.from({ length: 50 }, (_, n) => lane(() => work(n))))
    expect([most, results.filter(({ status }) => status === "fulfilled").length]).toEqual([3, 40])
  })
})
