import { expect, test } from "bun:test"
import { newId } from "./ids"

test("ids carry their prefix and sort in the order they were made in", () => {
  const ids = Array.from({ length: 10_000 }, () => newId("mc-"))
  expect(ids.toSorted()).toEqual(ids)
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(id).toMatch(/^mc-[0-9abcdefghjkmnpqrstvwxyz]{22}$/)
})
