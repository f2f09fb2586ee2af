import { expect, test } from "bun:test"
import type { Db, Tx } from "../db/db"
import { AppError } from "../errors"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { until } from "../testing/until"
import { type OutboxHandler, outboxQueue, outboxWorker, pauseMs } from "./outbox.service"
import { outboxStore } from "./outbox.store"

const minuteMs = 60_000
const never = new AbortController().signal

type Handlers = Record<string, Partial<OutboxHandler> & Pick<OutboxHandler, "perform">>

const setUp = (db: Db, handlers: Handlers, clock = testClock()) => {
  const rows = outboxStore(db)
  const queue = outboxQueue({ db, rows, clock })
  const errors: unknown[] = []
  const worker = outboxWorker({
    db,
    rows,
    clock,
    handlers: Object.fromEntries(
      Object.entries(handlers).map(([kind, handler]) => [
        kind,
        { timeoutMs: 5000, onDone: async () => {}, onFailed: async () => {}, ...handler },
      ]),
    ),
    onRowError: (_id, error) => errors.push(error),
  })
  return {
    clock,
    worker,
    errors,
    add: (kind: string, lane: string, ...numbers: number[]) =>
      db.transaction((tx) => queue.add(tx, ...numbers.map((n) => ({ kind, lane, payload: { n } })))),
    rows: () => db.read.select().from(db.t.outbox).orderBy(db.t.outbox.id),
  }
}

test("the pause doubles up to an hour, and is as long as the peer asks for where that is longer", () => {
  const plain = new Error("down")
  expect([1, 2, 3, 8, 40].map((attempts) => pauseMs(attempts, plain))).toEqual([
    30_000,
    minuteMs,
    2 * minuteMs,
    60 * minuteMs,
    60 * minuteMs,
  ])
  expect(pauseMs(1, new AppError("rate_limited", "later", { body: { retry_after: 90 } }))).toBe(90_000)
})

onEachDialect("the outbox", (openDb) => {
  test("works what is due once, and says so in the transaction that ends the row", async () => {
    const db = await openDb()
    const performed: unknown[] = []
    const done: unknown[] = []
    const { add, worker, rows } = setUp(db, {
      greet: {
        perform: async ({ n }) => {
          performed.push(n)
          return `told ${n}`
        },
        onDone: async (_tx, _payload, result) => void done.push(result),
      },
    })
    await add("greet", "peer", 1, 2, 3)
    await worker.work(never)
    await worker.work(never)
    expect(performed.toSorted()).toEqual([1, 2, 3])
    expect(done.toSorted()).toEqual(["told 1", "told 2", "told 3"])
    for (const row of await rows())
      expect(row).toMatchObject({ attempts: 1, lastError: null, doneAt: expect.any(Date) })
  })

  test("owes nothing for a change that was rolled back", async () => {
    const db = await openDb()
    const { rows } = setUp(db, {})
    const queue = outboxQueue({ db, rows: outboxStore(db), clock: testClock() })
    const failing = db.transaction(async (tx) => {
      await queue.add(tx, { kind: "greet", lane: "peer", payload: {} })
      throw new Error("changed my mind")
    })
    await expect(failing).rejects.toThrow("changed my mind")
    expect(await rows()).toEqual([])
  })

  test("tries again with growing pauses, keeps the reason, and tells of it when it is another one", async () => {
    const db = await openDb()
    let mood: string | null = "the peer is down"
    const told: unknown[] = []
    const { add, worker, rows, clock } = setUp(db, {
      greet: {
        perform: async () => {
          if (mood !== null) throw new AppError("upstream", mood)
        },
        onFailed: async (_tx, _payload, reason, isNews) => void (isNews && told.push(reason)),
      },
    })
    await add("greet", "peer", 1)
    await worker.work(never)
    await worker.work(never)
    expect(await rows()).toMatchObject([{ attempts: 1, lastError: "the peer is down", doneAt: null }])
    clock.advance(30_000)
    await worker.work(never)
    expect(await rows()).toMatchObject([{ attempts: 2, nextAt: new Date(clock.now().getTime() + minuteMs) }])
    mood = "the peer says no"
    clock.advance(minuteMs)
    await worker.work(never)
    mood = null
    clock.advance(2 * minuteMs)
    await worker.work(never)
    expect(await rows()).toMatchObject([{ attempts: 4, lastError: null, doneAt: clock.now() }])
    expect(told).toEqual(["the peer is down", "the peer says no"])
  })

  test("a peer that hangs holds up nobody but itself, and is given up on after its time", async () => {
    const db = await openDb()
    const performed: unknown[] = []
    const { promise: never_, resolve: letGo } = Promise.withResolvers<void>()
    const { add, worker, rows } = setUp(db, {
      greet: {
        timeoutMs: 300,
        perform: async ({ n }) => {
          if (Number(n) < 100) await never_
          performed.push(n)
        },
      },
    })
    await add("greet", "hangs", ...Array.from({ length: 30 }, (_, n) => n))
    const pass = worker.work(never)
    // Owed while the pass is under way.
    await add("greet", "answers", 100, 101)
    await until("the other peer has heard", () => performed.length === 2)
    await pass
    letGo()
    const stuck = (await rows()).filter((row) => row.doneAt === null)
    expect(stuck).toHaveLength(30)
    // The rest of the lane waits for the next pass instead of hanging one by one.
    expect(stuck.filter((row) => row.attempts > 0).length).toBeLessThan(10)
    expect(stuck.some((row) => row.lastError?.includes("no answer within"))).toBe(true)
  })

  test("keeps rows of a kind that this server does not know for one that does", async () => {
    const db = await openDb()
    const old = setUp(db, {})
    await old.add("from-the-future", "peer", 1)
    await old.worker.work(never)
    expect(await old.rows()).toMatchObject([
      { doneAt: null, lastError: "this server does not know effects of kind from-the-future" },
    ])
    const heard: unknown[] = []
    const fresh = setUp(db, { "from-the-future": { perform: async ({ n }) => heard.push(n) } }, old.clock)
    old.clock.advance(minuteMs)
    await fresh.worker.work(never)
    expect(heard).toEqual([1])
  })

  test("stops at once when it is told to, and what was in hand is repeated", async () => {
    const db = await openDb()
    const abort = new AbortController()
    let calls = 0
    const { add, worker, rows, clock } = setUp(db, {
      greet: {
        perform: async (_payload, signal) => {
          calls += 1
          if (calls === 1)
            await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
        },
      },
    })
    await add("greet", "peer", 1)
    const pass = worker.work(abort.signal)
    await until("it is in hand", () => calls === 1)
    abort.abort()
    await pass
    expect(await rows()).toMatchObject([{ attempts: 1, doneAt: null, lastError: null }])
    clock.advance(5 * minuteMs)
    await worker.work(never)
    expect(await rows()).toMatchObject([{ attempts: 2, doneAt: clock.now() }])
  })

  test("several servers at once perform each row once", async () => {
    const db = await openDb()
    const performed: unknown[] = []
    const handlers: Handlers = { greet: { perform: async ({ n }) => void performed.push(n) } }
    const [one, two, three] = [setUp(db, handlers), setUp(db, handlers), setUp(db, handlers)]
    const numbers = Array.from({ length: 60 }, (_, n) => n)
    for (const lane of ["a", "b", "c"]) await one.add("greet", lane, ...numbers)
    while ((await one.rows()).some((row) => row.doneAt === null)) {
      await Promise.all([one, two, three].map((server) => server.worker.work(never)))
    }
    expect(performed).toHaveLength(180)
    expect([...one.errors, ...two.errors, ...three.errors]).toEqual([])
  })

  test("loses nothing when a server dies between any two transactions, and ends every row once", async () => {
    for (let fuse = 1; fuse <= 8; fuse += 1) {
      const real = await openDb()
      let left = fuse
      const death = new AbortController()
      const { promise: dead, resolve: die } = Promise.withResolvers<void>()
      const begun: Promise<unknown>[] = []
      // After so many transactions the process is gone: what it waits for never comes.
      const dying: Db = {
        ...real,
        async transaction<R>(run: (tx: Tx) => Promise<R>): Promise<R> {
          if (left <= 0) return new Promise<never>(() => {})
          const running = real.transaction(run)
          begun.push(running)
          const result = await running
          left -= 1
          if (left > 0) return result
          death.abort()
          die()
          return new Promise<never>(() => {})
        },
      }
      const clock = testClock()
      const performed = new Set<unknown>()
      const ended: unknown[] = []
      const handlers: Handlers = {
        greet: {
          perform: async ({ n }) => void performed.add(n),
          onDone: async (tx, { n }) => {
            await tx.insert(real.t.settings).values({ name: `ended ${n}`, value: "", updatedAt: clock.now() })
            ended.push(n)
          },
        },
      }
      const survivor = setUp(real, handlers, clock)
      await survivor.add("greet", "peer", 1, 2, 3)
      await Promise.race([setUp(dying, handlers, clock).worker.work(death.signal), dead])
      // Those beside it go on here, and hold rows for a moment in which nobody else gets them.
      await Promise.allSettled(begun)
      clock.advance(10 * minuteMs)
      await survivor.worker.work(never)
      expect((await survivor.rows()).every((row) => row.doneAt !== null)).toBe(true)
      expect([...performed].toSorted()).toEqual([1, 2, 3])
      // A second end of the same row would have failed on its key.
      const kept = await real.read.select().from(real.t.settings)
      expect(kept.filter(({ name }) => name.startsWith("ended ")).map(({ name }) => name)).toHaveLength(3)
      expect(survivor.errors).toEqual([])
    }
  }, 60_000)

  test("drops what was done a week ago, and nothing that is still owed", async () => {
    const db = await openDb()
    const { add, worker, rows, clock } = setUp(db, {
      greet: {
        perform: async ({ n }) => {
          if (n === 2) throw new Error("no")
        },
      },
    })
    await add("greet", "peer", 1)
    await add("greet", "other", 2)
    await worker.work(never)
    clock.advance(6 * 24 * 60 * minuteMs)
    await worker.thin(never)
    expect(await rows()).toHaveLength(2)
    clock.advance(2 * 24 * 60 * minuteMs)
    await worker.thin(never)
    expect((await rows()).map((row) => row.payload)).toEqual([{ n: 2 }])
  })
})
