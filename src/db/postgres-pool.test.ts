import { afterEach, beforeAll, expect, test } from "bun:test"
import { count, eq, sql } from "drizzle-orm"
import postgres from "postgres"
import { AppError } from "../errors"
import { createTestDatabase, prepareLimitMs, prepareTestPostgres, startTestPostgres } from "../testing/postgres"
import { until } from "../testing/until"
import { urgently } from "../urgency"
import type { DbHandle, Tx } from "./db"
import { postgresKit } from "./kit"
import { openPostgres } from "./postgres"

const notes = postgresKit.table("notes", {
  id: postgresKit.text("id").primaryKey(),
  body: postgresKit.text("body").notNull(),
})

beforeAll(prepareTestPostgres, prepareLimitMs)

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup()
})

const open = async (url: string, deadlineMilliseconds?: number): Promise<DbHandle> => {
  const db = await openPostgres({ url, maxConnections: 8, deadlineMilliseconds })
  cleanups.push(() => db.close())
  await db.changeSchema((connection) =>
    connection.run("create table if not exists notes (id text primary key, body text not null)"),
  )
  return db
}

const newDatabase = async (): Promise<string> => {
  const database = await createTestDatabase({ isEmpty: true })
  cleanups.push(() => database.drop())
  return database.url
}

const addPair = async (tx: Tx, name: string) => {
  await tx.insert(notes).values({ id: `${name} first`, body: name })
  await tx.insert(notes).values({ id: `${name} second`, body: name })
}

/** Writes pairs from many callers until told to stop, and then checks that the database has what was acknowledged and nothing half. */
const startLoad = (db: DbHandle) => {
  const state = { isDone: false, acknowledged: new Set<string>(), failures: [] as unknown[] }
  const work = async () => {
    while (!state.isDone) {
      const name = crypto.randomUUID()
      try {
        await db.transaction((tx) => addPair(tx, name))
        state.acknowledged.add(name)
        await db.read.select().from(notes).where(eq(notes.id, name))
      } catch (error) {
        state.failures.push(error)
        // Without a pause the callers would spin while the server is away.
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    }
  }
  const workers = Array.from({ length: 30 }, work)
  return {
    state,
    async finish() {
      state.isDone = true
      await Promise.all(workers)
      const rows = await db.read.select({ name: notes.body, n: count() }).from(notes).groupBy(notes.body)
      const whole = new Set(rows.filter(({ n }) => n === 2).map(({ name }) => name))
      expect(rows.length).toBe(whole.size)
      expect([...state.acknowledged].filter((name) => !whole.has(name))).toEqual([])
    },
  }
}

const expectOutagesOnly = (failures: readonly unknown[]) => {
  const others = failures.filter((error) => !(error instanceof AppError && error.code === "unavailable"))
  expect(others).toEqual([])
}

test("loses nothing and goes on when backends are killed under load", async () => {
  const url = await newDatabase()
  const db = await open(url)
  const load = startLoad(db)
  const admin = postgres(url, { max: 1 })
  cleanups.push(() => admin.end())
  for (let round = 0; round < 5; round += 1) {
    const before = load.state.acknowledged.size
    await until("the load is running", () => load.state.acknowledged.size > before + 50)
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()`
  }
  const before = load.state.acknowledged.size
  await until("the load is running again", () => load.state.acknowledged.size > before + 50)
  await load.finish()
  expect(load.state.failures.length).toBeGreaterThan(0)
  expectOutagesOnly(load.state.failures)
}, 60_000)

test("loses nothing and goes on when the server crashes and restarts under load", async () => {
  const server = await startTestPostgres()
  cleanups.push(() => server.stop())
  const db = await open(server.url)
  const heard: string[] = []
  db.onSignal("notes", (payload) => heard.push(payload))
  const other = await open(server.url)
  let sent = 0
  const signalsArrive = async () => {
    const wanted = `signal ${++sent}`
    await until("signals arrive", async () => {
      await other.transaction(async (tx) => other.signal(tx, "notes", wanted))
      return heard.includes(wanted)
    })
  }
  await signalsArrive()

  const load = startLoad(db)
  for (let round = 0; round < 3; round += 1) {
    const before = load.state.acknowledged.size
    await until("the load is running", () => load.state.acknowledged.size > before + 50)
    await server.restart()
  }
  const before = load.state.acknowledged.size
  await until("the load is running again", () => load.state.acknowledged.size > before + 50)
  await signalsArrive()
  await load.finish()
  expect(load.state.failures.length).toBeGreaterThan(0)
  expectOutagesOnly(load.state.failures)
}, 60_000)

test("rolls back a transaction past its deadline, also while a statement is running, and gives the connection up", async () => {
  const db = await open(await newDatabase(), 1000)
  const { promise: woken, resolve: wake } = Promise.withResolvers<void>()
  const { promise: lateResult, resolve: tellLate } = Promise.withResolvers<unknown>()
  const stuck = db.transaction(async (tx) => {
    await addPair(tx, "stuck")
    await woken
    await addPair(tx, "late").catch(tellLate)
  })
  const slow = db.transaction(async (tx) => await tx.select({ slept: sql`pg_sleep(60)` }).from(sql`(select 1) as one`))
  const outcomes = await Promise.allSettled([stuck, slow])
  for (const outcome of outcomes) {
    expect(outcome.status === "rejected" && String(outcome.reason)).toContain("took longer than 1000 ms")
  }
  wake()
  expect(String(await lateResult)).toContain("outside of its run")
  await db.transaction((tx) => addPair(tx, "next"))
  expect(await db.read.select({ n: count() }).from(notes)).toEqual([{ n: 2 }])
})

test("more callers than connections take turns", async () => {
  const db = await open(await newDatabase())
  await Promise.all(Array.from({ length: 300 }, (_, n) => db.transaction((tx) => addPair(tx, `pair ${n}`))))
  const counts = await Promise.all(Array.from({ length: 300 }, () => db.read.select({ n: count() }).from(notes)))
  expect(new Set(counts.map(([row]) => row?.n))).toEqual(new Set([600]))
})

test("reads do not queue behind transactions, which leave some connections to them", async () => {
  const db = await open(await newDatabase())
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  let begun = 0
  const transactions = Array.from({ length: 30 }, (_, n) =>
    db.transaction(async (tx) => {
      await addPair(tx, `pair ${n}`)
      begun += 1
      await released
    }),
  )
  await until("half of eight connections are in use", () => begun === 4)
  const counts = await Promise.all(Array.from({ length: 20 }, () => db.read.select({ n: count() }).from(notes)))
  expect(counts.map(([row]) => row?.n)).toEqual(Array.from({ length: 20 }, () => 0))
  expect(begun).toBe(4)
  release()
  await Promise.all(transactions)
  expect(await db.read.select({ n: count() }).from(notes)).toEqual([{ n: 60 }])
})

test("let those who wait for an answer go first", async () => {
  const db = await open(await newDatabase())
  const sleeping = Array.from({ length: 12 }, () =>
    db.read.select({ slept: sql`pg_sleep(0.3)` }).from(sql`(select 1) as one`),
  )
  let haveSlept = false
  const slept = Promise.all(sleeping).then(() => (haveSlept = true))
  // More reads than agents and loops may have at a time: whoever looks at something does not wait for them.
  await urgently(async () => await db.read.select({ n: count() }).from(notes))
  expect(haveSlept).toBe(false)
  await slept

  const releases: (() => void)[] = []
  const holding = Array.from({ length: 4 }, () =>
    db.transaction(async (tx) => {
      await addPair(tx, crypto.randomUUID())
      await new Promise<void>((resolve) => releases.push(resolve))
    }),
  )
  await until("no transaction more may begin", () => releases.length === 4)
  const done: string[] = []
  const write = async (name: string) => {
    await db.transaction((tx) => addPair(tx, name))
    done.push(name)
  }
  const later = ["a", "b", "c"].map(write)
  const first = ["first", "second", "third", "fourth"].map((name) => urgently(() => write(name)))
  // One at a time, so that the order is that of their turns.
  releases[0]?.()
  await Promise.all([...later, ...first])
  expect(done).toEqual(["first", "second", "third", "a", "fourth", "b", "c"])
  for (const release of releases) release()
  await Promise.all(holding)
})

test("says that the database is not available when nobody listens there, without the password", async () => {
  const db = await openPostgres({ url: "postgres://certctl:hunter2@127.0.0.1:1/certctl", maxConnections: 2 })
  cleanups.push(() => db.close())
  const error = await db.ping().then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(AppError)
  expect(error).toMatchObject({ code: "unavailable" })
  expect(Bun.inspect(error)).not.toContain("hunter2")
})

test("a signal reaches the other process once, and the own one without the detour", async () => {
  const url = await newDatabase()
  const here = await open(url)
  const there = await open(url)
  const heardHere: string[] = []
  const heardThere: string[] = []
  here.onSignal("jobs", (payload) => heardHere.push(payload))
  there.onSignal("jobs", (payload) => heardThere.push(payload))
  await until("the other one listens", async () => {
    await here.transaction(async (tx) => here.signal(tx, "jobs", "hello"))
    return heardThere.includes("hello")
  })

  const before = heardHere.length
  const tricky = `{"a":"ü ' \\ \n"}`
  await here.transaction(async (tx) => here.signal(tx, "jobs", tricky))
  expect(heardHere.slice(before)).toEqual([tricky])
  const failed = here.transaction(async (tx) => {
    here.signal(tx, "jobs", "never")
    throw new Error("no")
  })
  await expect(failed).rejects.toThrow("no")
  await here.transaction(async (tx) => here.signal(tx, "jobs", "last"))
  await until("the last one arrived", () => heardThere.includes("last"))
  expect(heardThere.filter((payload) => payload !== "hello")).toEqual([tricky, "last"])
  expect(heardHere.slice(before)).toEqual([tricky, "last"])
})

test("nothing is sent for who is patient while somebody urgent waits, for 20 ms at most", async () => {
  const db = await open(await newDatabase())
  const one = sql`(select 1) as one`
  const { promise: looked, resolve: look } = Promise.withResolvers<void>()
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const times: number[] = []
  const measured = async (query: PromiseLike<unknown>) => {
    const began = performance.now()
    await query
    times.push(performance.now() - began)
  }
  const patient = db.transaction(async (tx) => {
    await tx.select({ n: count() }).from(notes)
    look()
    await asked
    await measured(tx.select({ n: count() }).from(notes))
  })
  await looked
  const urgent = urgently(async () => await db.read.select({ slept: sql`pg_sleep(0.2)` }).from(one))
  ask()
  const reading = measured(db.read.select({ n: count() }).from(notes))
  await Promise.all([patient, reading])
  expect(Math.min(...times)).toBeGreaterThan(15)
  await urgent
})

test("a read that people repeat is prepared, and a transaction on the same connection sees its own values", async () => {
  const db = await open(await newDatabase())
  await db.transaction((tx) => addPair(tx, "a"))
  const find = (id: string) =>
    urgently(async () => (await db.read.select().from(notes).where(eq(notes.id, id))).map((row) => row.body))
  for (let i = 0; i < 12; i++) {
    expect(await find("a first")).toEqual(["a"])
    expect(await find(`nothing ${i}`)).toEqual([])
    await db.transaction(async (tx) => {
      await tx.insert(notes).values({ id: `more ${i}`, body: "more" })
      expect(
        await tx
          .select()
          .from(notes)
          .where(eq(notes.id, `more ${i}`)),
      ).toHaveLength(1)
    })
  }
  const [prepared] = await urgently(
    async () =>
      await db.read
        .select({
          n: sql`(select count(*) from pg_prepared_statements where statement like '%"notes"%')`.mapWith(Number),
          mode: sql`current_setting('plan_cache_mode')`,
        })
        .from(sql`(select 1) as one`),
  )
  expect(prepared).toEqual({ n: 1, mode: "auto" })
})
