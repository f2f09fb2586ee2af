import { describe, expect, test } from "bun:test"
import { closingLine, failureReports, readSummary } from "./test-summary"

const output = `
a.test.ts:
(pass) a [0.06ms]
 3 pass

 10 pass
 1 skip
 1 todo
 2 fail
 1 error
 2 expect() calls
Ran 14 tests across 3 files. [11.00ms]
`

describe("the summary of a test run", () => {
  test("counts what ran, with todo among the skipped", () => {
    expect(readSummary(output)).toEqual({ passed: 10, failed: 2, skipped: 2 })
  })

  test("is read through colours", () => {
    const coloured =
      "\u001b[0m\u001b[32m 4 pass\u001b[0m\n\u001b[0m\u001b[2m 0 fail\u001b[0m\nRan 4 tests across 1 file. [1ms]\n"
    expect(readSummary(coloured)).toEqual({ passed: 4, failed: 0, skipped: 0 })
  })

  test("is missing when the run ended early", () => {
    expect(readSummary("a.test.ts:\n(pass) a\n 1 pass\n")).toBeNull()
  })

  test("counts a file that could not be loaded as failed", () => {
    expect(readSummary(" 4 pass\n 0 fail\n 1 error\nRan 4 tests across 2 files. [1ms]")?.failed).toBe(1)
  })

  test("closes with one plain line", () => {
    expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed")
    expect(closingLine({ passed: 3, failed: 1, skipped: 2 })).toBe("3 passed, 1 failed, 2 skipped")
  })

  test("tells what was printed by the files with failed tests, and nothing of those that passed", () => {
    const printed = `
src/b.test.ts:
(pass) well [0.06ms]
line 1

a.test.ts:
a remark
(pass) fine [0.06ms]

src/b.test.ts:
error: expected 1
(fail) b > is one [1.00ms]
error: in a hook

2 tests failed:
(fail) b > is one [1.00ms]

 1 pass
 1 fail
Ran 3 tests across 2 files. [11.00ms]
`
    const whole = ["src/b.test.ts:", "line 1", "error: expected 1", "(fail) b > is one [1.00ms]", "error: in a hook"]
    expect(failureReports(printed)).toEqual([whole.join("\n")])
    expect(failureReports(printed, 2)).toEqual([["src/b.test.ts:", ...whole.slice(-2)].join("\n")])
    expect(failureReports(output)).toEqual([])
  })
})
