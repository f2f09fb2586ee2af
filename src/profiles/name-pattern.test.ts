import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { compileNamePattern, compileSpiffePattern } from "./name-pattern"

describe("name patterns", () => {
  test("cover whole names in any case", () => {
    const matches = compileNamePattern("[a-z]+\\.example\\.com")
    expect(matches("www.example.com")).toBe(true)
    expect(matches("WWW.Example.com")).toBe(true)
    expect(matches("www.example.com.evil.test")).toBe(false)
    expect(matches("a.www.example.com")).toBe(false)
  })

  test("that begin with *. stand for exactly one label", () => {
    const matches = compileNamePattern("*.example.com")
    expect(matches("www.EXAMPLE.com")).toBe(true)
    expect(matches("a.b.example.com")).toBe(false)
    expect(matches("example.com")).toBe(false)
    expect(matches(".example.com")).toBe(false)
    // The dot is a dot here, no "any character".
    expect(matches("www.examplexcom")).toBe(false)
  })

  test("that are alternatives cover whole names as well", () => {
    const matches = compileNamePattern("a\\.test|b\\.test")
    expect(matches("a.test")).toBe(true)
    expect(matches("a.test.evil")).toBe(false)
    expect(matches("evil.b.test")).toBe(false)
  })

  test.each([
    ["", "must not be empty"],
    ["(", "must be a regular expression (RE2 syntax)"],
    ["a(?=b)", "must be a regular expression (RE2 syntax)"],
    ["x".repeat(513), "must be at most 512 characters long"],
  ])("refuse %j", (pattern, message) => {
    expect(() => compileNamePattern(pattern)).toThrow(message)
  })

  test("agree with the platform's own matcher", () => {
    const part = fc.constantFrom("a", "b", "[ab]", "a+", "(ab)*", "b?", "\\.", "(a|b)", "[^a]")
    const pattern = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(""))
    fc.assert(
      fc.property(pattern, fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 8 }), (text, name) => {
        expect(compileNamePattern(text)(name)).toBe(new RegExp(`^(?:${text})$`, "i").test(name))
      }),
    )
  })
})

describe("SPIFFE patterns", () => {
  test("take * for one whole path segment", () => {
    const matches = compileSpiffePattern("spiffe://prod.example/ns/*/sa/web")
    expect(matches("spiffe://prod.example/ns/shop/sa/web")).toBe(true)
    expect(matches("spiffe://prod.example/ns/shop/eu/sa/web")).toBe(false)
    expect(matches("spiffe://prod.example/ns//sa/web")).toBe(false)
    expect(matches("spiffe://other.example/ns/shop/sa/web")).toBe(false)
    expect(matches("https://prod.example/ns/shop/sa/web")).toBe(false)
  })

  test.each(["", "https://prod.example/x", "spiffe://", "spiffe://prod.example/a*b", "spiffe://*/x", "spiffe://a//b"])(
    "refuse %j",
    (pattern) => {
      expect(() => compileSpiffePattern(pattern)).toThrow("must be a SPIFFE id")
    },
  )
})
