import { expect, test } from "bun:test"
import * as fc from "fast-check"
import { returnPath } from "./return-path"

test("keeps paths of this console", () => {
  expect(returnPath("/certificates?status=Active&page=2")).toBe("/certificates?status=Active&page=2")
})

test("everything else becomes the start page", () => {
  for (const path of [
    undefined,
    "",
    "certificates",
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "/a\n",
  ]) {
    expect(returnPath(path)).toBe("/")
  }
})

test("never leaves the host, whatever is given", () => {
  const odd = fc.string({ unit: fc.constantFrom("/", "\\", "\t", "\n", ":", "@", "evil.example", "?", "#", " ", ".") })
  fc.assert(
    fc.property(odd, (path) => {
      expect(new URL(returnPath(path), "https://certctl.example").host).toBe("certctl.example")
    }),
  )
})
