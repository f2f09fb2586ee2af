import { expect, test } from "bun:test"
import { onEachDialect } from "../testing/on-each-dialect"
import { until } from "../testing/until"
import { leaseStore } from "./lease.store"

const names = (leases: readonly { loop: string }[]) => leases.map((lease) => lease.loop).sort()

onEachDialect("leases", (openDb) => {
  test("gives every loop to the first who asks, and none to the second", async () => {
    const leases = leaseStore(await openDb())
    expect(names(await leases.hold(["a", "b"], "one", 60_000))).toEqual(["a", "b"])
    expect(await leases.hold(["a", "b"], "two", 60_000)).toEqual([])
  })

  test("keeps its fence while the holder renews and raises it when the holder changes", async () => {
    const leases = leaseStore(await openDb())
    const [first] = await leases.hold(["a"], "one", 60_000)
    const [renewed] = await leases.hold(["a"], "one", 60_000)
    expect(renewed).toEqual(first as never)
    await leases.release("one")
    const [taken] = await leases.hold(["a"], "two", 60_000)
    expect(taken?.fence).toBe((first?.fence ?? 0) + 1)
    expect(await leases.hold(["a"], "one", 60_000)).toEqual([])
  })

  test("lets somebody else have a lease that ran out", async () => {
    const leases = leaseStore(await openDb())
    await leases.hold(["a"], "one", 50)
    await until("the lease has run out", async () => (await leases.hold(["a"], "two", 60_000)).length === 1)
  })

  test("never has two holders of one loop, however many ask at once", async () => {
    const leases = leaseStore(await openDb())
    const holders = Array.from({ length: 12 }, (_, index) => `server-${index}`)
    const held = await Promise.all(holders.map((holder) => leases.hold(["a", "b", "c"], holder, 60_000)))
    expect(names(held.flat())).toEqual(["a", "b", "c"])
  })
})
