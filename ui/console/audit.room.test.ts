import { expect, test } from "bun:test"
import fc from "fast-check"
import { csvCell } from "./audit.room"

test("a cell that a spreadsheet would run becomes text", () => {
  for (const start of ["=", "+", "-", "@", "\t", "\r", "\n"]) expect(csvCell(`${start}1`)).toBe(`"'${start}1"`)
  expect(csvCell("agent-1")).toBe('"agent-1"')
  expect(csvCell('say "hi", twice')).toBe('"say ""hi"", twice"')
})

test("whatever a cell holds comes back when it is read, and never begins a formula", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const read = csvCell(text).slice(1, -1).replaceAll('""', '"')
      expect(read.replace(/^'(?=[=+\-@\t\r\n])/, "")).toBe(text.replace(/^'(?=[=+\-@\t\r\n])/, ""))
      expect(read).not.toMatch(/^[=+\-@\t\r\n]/)
    }),
  )
})
