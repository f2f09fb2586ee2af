import { describe, expect, test } from "bun:test"
import { GivingWay } from "./giving-way"

describe("giving way", () => {
  test("lasts until everybody urgent has an answer", async () => {
    const way = new GivingWay()
    expect(way.over).toBeUndefined()
    way.begin()
    way.begin()
    const over = way.over
    expect(over).toBeDefined()
    way.end()
    expect(way.over).toBe(over)
    way.end()
    await over
    expect(way.over).toBeUndefined()
  })

  test("ends by itself where an answer is long in coming, and is followed by as long a time without", async () => {
    const way = new GivingWay()
    way.begin()
    await way.over
    expect(way.over).toBeUndefined()
    way.begin()
    expect(way.over).toBeUndefined()
    way.end()
    way.end()
    expect(way.over).toBeUndefined()
  })
})
