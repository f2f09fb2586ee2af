import { describe, expect, test } from "bun:test"
import { setImmediate as nextTurn } from "node:timers/promises"
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
    await nextTurn()
    expect(way.over).toBe(over)
    way.end()
    await over
    expect(way.over).toBeUndefined()
  })

  test("goes on where the answer is followed by the next statement at once", async () => {
    const way = new GivingWay()
    way.begin()
    const over = way.over
    way.end()
    await Promise.resolve()
    way.begin()
    await nextTurn()
    await nextTurn()
    expect(way.over).toBe(over)
    way.end()
    await over
    way.begin()
    expect(way.over).toBeDefined()
    way.end()
    await way.over
  })

  test("ends by itself where an answer is long in coming, and is made up for before it is as long again", async () => {
    const way = new GivingWay()
    way.begin()
    await way.over
    expect(way.over).toBeUndefined()
    way.begin()
    expect(way.over).toBeUndefined()
    way.end()
    way.end()
    expect(way.over).toBeUndefined()
    for (let isAskedAgain = false; !isAskedAgain; await nextTurn()) {
      way.begin()
      isAskedAgain = way.over !== undefined
      way.end()
    }
  })
})
