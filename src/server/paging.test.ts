import { describe, expect, test } from "bun:test"
import * as fc from "fast-check"
import * as v from "valibot"
import { cursorAnswer, cursorPageOf, decodeCursor, encodeCursor, PageQuery, rangeOf } from "./paging"

describe("page parameters", () => {
  const table: [string | undefined, string | undefined, number, number][] = [
    [undefined, undefined, 1, 50],
    ["3", "20", 3, 20],
    ["0", "0", 1, 50],
    ["-1", "-5", 1, 50],
    ["x", "many", 1, 50],
    ["1.5", "1e2", 1, 50],
    ["", "", 1, 50],
    ["2", "500", 2, 500],
    ["2", "501", 2, 50],
    ["999999999999", "1", 999999999999, 1],
    ["99999999999999999999", "1", 1, 1],
  ]
  for (const [page, per_page, expectedPage, expectedPerPage] of table) {
    test(`page=${page} per_page=${per_page}`, () => {
      expect(v.parse(PageQuery, { page, per_page })).toEqual({ page: expectedPage, per_page: expectedPerPage })
    })
  }

  test("the range stays exact on the last page there can be", () => {
    const { offset } = rangeOf({ page: 999_999_999_999, per_page: 500 })
    expect(Number.isSafeInteger(offset)).toBe(true)
  })
})

describe("cursors", () => {
  test("every cursor comes back as it was", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date("2999-01-01"), noInvalidDate: true }),
        fc.string({ minLength: 1, maxLength: 200, unit: "grapheme" }).filter((id) => id.length <= 255),
        (createdAt, id) => {
          expect(decodeCursor(encodeCursor({ createdAt, id }))).toEqual({ createdAt, id })
        },
      ),
    )
  })

  test("anything else counts as no cursor", () => {
    fc.assert(fc.property(fc.string(), (text) => void decodeCursor(text)))
    expect(decodeCursor("")).toBeNull()
    expect(decodeCursor("not-a-token")).toBeNull()
    expect(cursorPageOf({ cursor: "!!", per_page: 20 })).toEqual({ pageSize: 20, after: null })
  })

  test("page mode stays page mode without cursor and page_size", () => {
    expect(cursorPageOf({ per_page: 20 })).toBeNull()
    expect(cursorPageOf({ page_size: "501" })?.pageSize).toBe(50)
    expect(cursorPageOf({ page_size: "500" })?.pageSize).toBe(500)
  })

  test("the next cursor is there exactly when another row follows", () => {
    const rows = ["c", "b", "a"].map((id) => ({ id, createdAt: new Date(1000) }))
    const page = { pageSize: 2, after: null }
    const first = cursorAnswer(rows, 3, page, ({ id }) => id)
    expect(first.data).toEqual(["c", "b"])
    expect(decodeCursor(first.next_cursor ?? "")).toEqual({ id: "b", createdAt: new Date(1000) })
    expect(cursorAnswer(rows.slice(2), 3, page, ({ id }) => id)).toEqual({ data: ["a"], total: 3, page_size: 2 })
  })
})
