import { describe, expect, test } from "bun:test"
import { TransactionLimit } from "./transaction-limit"

const windows = (limit: TransactionLimit, count: number, ms: number, isWatched = false): number => {
  for (let i = 0; i < count * 32; i++) limit.observe(ms, isWatched)
  return limit.now
}

describe("the number of transactions at a time", () => {
  test("grows to the most while a BEGIN takes what it takes at best, near or far", () => {
    expect(windows(new TransactionLimit(7), 10, 0.2)).toBe(7)
    expect(windows(new TransactionLimit(7), 10, 30)).toBe(7)
  })

  test("shrinks to two while they wait for each other, and grows again afterwards", () => {
    const limit = new TransactionLimit(7)
    windows(limit, 10, 0.5)
    expect(windows(limit, 10, 12)).toBe(2)
    expect(windows(limit, 10, 0.6)).toBe(7)
  })

  test("shrinks sooner while somebody urgent is there", () => {
    const limit = new TransactionLimit(7)
    windows(limit, 10, 0.5)
    expect(windows(limit, 10, 3)).toBe(7)
    expect(windows(limit, 10, 3, true)).toBe(2)
    expect(windows(limit, 10, 3)).toBe(7)
  })

  test("stays small however long they wait for each other, as long as the fastest show how near the database is", () => {
    const limit = new TransactionLimit(7)
    for (let i = 0; i < 100_000; i++) limit.observe(i % 100 === 0 ? 0.5 : 4, true)
    expect(limit.now).toBe(2)
  })

  test("forgets how fast a database was that has moved away", () => {
    const limit = new TransactionLimit(7)
    windows(limit, 10, 0.5)
    windows(limit, 10, 25)
    expect(windows(limit, 300, 25)).toBe(7)
  })

  test("never exceeds the most, however small", () => {
    expect(new TransactionLimit(1).now).toBe(1)
    expect(windows(new TransactionLimit(1), 5, 9)).toBe(1)
  })
})
