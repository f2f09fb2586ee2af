import { expect, test } from "bun:test"
import { withStablePlan } from "./sqlite-statements"

test("only parameters lose their peeked value, not question marks in texts and names", () => {
  expect(withStablePlan(`select "a?", 'it''s ?' from "t""?" where a = ? and b in (?, ?) limit ?`)).toBe(
    `select "a?", 'it''s ?' from "t""?" where a = +? and b in (+?, +?) limit +?`,
  )
})
