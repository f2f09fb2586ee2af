import { expect, test } from "bun:test"
import { day, lines, moment, table } from "./output"

test("columns are aligned by what a terminal shows, and an absent value is a dash", () => {
  const text = table(
    ["ID", "NAME", "N"],
    [
      ["a", "日本", 1],
      ["bb", null, undefined],
      ["c", "", 0],
    ],
  )
  expect(text.split("\n")).toEqual(["ID  NAME  N", "a   日本  1", "bb  -     -", "c   -     0"])
})

test("what a CA or a host said cannot move the cursor or add a row", () => {
  expect(table(["E"], [["\u001b[2Jfailed:\n\tno"]])).toBe("E\n [2Jfailed: no")
  expect(lines([["Last Error", "a\r\nb"]])).toBe("Last Error: a b")
})

test("times are UTC, and years before 2000 mean none", () => {
  expect(day("2030-01-31T23:30:00-02:00")).toBe("2030-02-01")
  expect(moment("2030-01-31T23:30:00.250Z")).toBe("2030-01-31 23:30:00Z")
  expect([day("0001-01-01T00:00:00Z"), day(undefined), moment("soon")]).toEqual([null, null, null])
})
