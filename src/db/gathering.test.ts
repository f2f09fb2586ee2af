import { expect, test } from "bun:test"
import { AsyncLocalStorage } from "node:async_hooks"
import { gathering } from "./gathering"

test("what comes while a set is at work is the next set, in the order in which it came", async () => {
  const sets: number[][] = []
  const gates: (() => void)[] = []
  const double = gathering<number, number>({
    most: 3,
    parallel: 1,
    async work(items) {
      sets.push([...items])
      await new Promise<void>((resolve) => gates.push(resolve))
      return items.map((item) => item * 2)
    },
  })
  const first = double(1)
  while (gates.length === 0) await new Promise((resolve) => setImmediate(resolve))
  const rest = [2, 3, 4, 5].map(double)
  for (let open = 0; open < 3; open += 1) {
    while (gates.length <= open) await new Promise((resolve) => setImmediate(resolve))
    gates[open]?.()
  }
  expect(await Promise.all([first, ...rest])).toEqual([2, 4, 6, 8, 10])
  expect(sets).toEqual([[1], [2, 3, 4], [5]])
})

test("a set that fails fails for its own callers alone", async () => {
  const odd = gathering<number, number>({
    most: 2,
    parallel: 2,
    async work(items) {
      if (items.includes(3)) throw new Error("not three")
      return items
    },
  })
  const answers = await Promise.allSettled([1, 2, 3, 4, 5].map(odd))
  expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "rejected", "fulfilled"])
})

test("a set runs in nobody's context, and its callers go on in their own", async () => {
  const request = new AsyncLocalStorage<string>()
  let seen: string | undefined = "not run"
  const same = gathering<string, string>({
    most: 8,
    parallel: 1,
    async work(items) {
      seen = request.getStore()
      return items
    },
  })
  const after = await request.run("one", async () => {
    await same("a")
    return request.getStore()
  })
  expect([seen, after]).toEqual([undefined, "one"])
})
