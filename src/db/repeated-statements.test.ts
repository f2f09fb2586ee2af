import { describe, expect, test } from "bun:test"
import { RepeatedStatements } from "./repeated-statements"

const times = (statements: RepeatedStatements, text: string, count: number): boolean[] =>
  Array.from({ length: count }, () => statements.saw(text))

describe("statements that repeat", () => {
  test("are those that have come five times", () => {
    const statements = new RepeatedStatements()
    expect(times(statements, "select a", 6)).toEqual([false, false, false, false, true, true])
    expect(times(statements, "select b", 4)).toEqual([false, false, false, false])
    expect(statements.saw("select a")).toBe(true)
  })

  test("are at most a hundred, and none that is very long", () => {
    const statements = new RepeatedStatements()
    for (let i = 0; i < 100; i++) times(statements, `select ${i}`, 5)
    expect(times(statements, "one too many", 10)).not.toContain(true)
    expect(statements.saw("select 99")).toBe(true)
    expect(times(new RepeatedStatements(), `select ${"x".repeat(5000)}`, 10)).not.toContain(true)
  })

  test("are found among however many that come once", () => {
    const statements = new RepeatedStatements()
    let found = false
    for (let i = 0; i < 20_000 && !found; i++) {
      statements.saw(`select ${i}`)
      if (i % 10 === 0) found = statements.saw("again")
    }
    expect(found).toBe(true)
  })
})
