import { expect, test } from "bun:test"
import { isFiltered, linkTo, listState } from "./list-state"

const state = listState(
  "/certificates",
  new URLSearchParams("status=Active&page=3&sort=-notAfter&search=&notice=x&job=job-1"),
)

test("empty values and notices are no state of a list", () => {
  expect(state.params).toEqual({ status: "Active", page: "3", sort: "-notAfter" })
})

test("changing a filter returns to the first page", () => {
  expect(linkTo(state, { status: "Expired" })).toBe("/certificates?status=Expired&sort=-notAfter")
})

test("changing the page keeps everything else", () => {
  expect(linkTo(state, { page: "4" })).toBe("/certificates?status=Active&page=4&sort=-notAfter")
})

test("null removes a parameter", () => {
  expect(linkTo(listState("/jobs", new URLSearchParams("status=Failed")), { status: null })).toBe("/jobs")
})

test("sorting and paging do not count as filters", () => {
  expect(isFiltered(listState("/jobs", new URLSearchParams("sort=name&page=2&page_size=25")))).toBe(false)
  expect(isFiltered(state)).toBe(true)
})
