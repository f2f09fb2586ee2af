import { expect, test } from "bun:test"
import { AsyncLocalStorage } from "node:async_hooks"
import { count, eq, sql } from "drizzle-orm"
import { onEachDialect } from "../testing/on-each-dialect"
import type { Db, Query, Tx } from "./db"
import { problemOf } from "./errors"
import { hot } from "./hot"
import { newId } from "./ids"

const at = new Date("2026-03-01T12:00:00.123Z")

const team = (name: string) => ({ id: newId("t-"), name, createdAt: at, updatedAt: at })

const addTeam = async (db: Db, tx: Tx, name: string) => {
  const row = team(name)
  await tx.insert(db.t.teams).values(row)
  return row.id
}

const teamCount = async (db: Db): Promise<number> => {
  const [row] = await db.read.select({ n: count() }).from(db.t.teams)
  return row?.n ?? -1
}

const failureOf = async (work: Promise<unknown>): Promise<Error> => {
  try {
    await work
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
  throw new Error("it did not fail")
}

onEachDialect("transaction", (openDb, dialect) => {
  test("commits what it wrote, with times to the millisecond", async () => {
    const db = await openDb()
    const id = await db.transaction((tx) => addTeam(db, tx, "web"))
    expect(await db.read.select().from(db.t.teams)).toEqual([
      { id, name: "web", description: "", createdAt: at, updatedAt: at },
    ])
  })

  test("a failing one rolls back alone while those beside it commit", async () => {
    const db = await openDb()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 200 }, (_, n) =>
        db.transaction(async (tx) => {
          await addTeam(db, tx, `team ${n}`)
          if (n % 3 === 0) throw new Error(`no ${n}`)
          await addTeam(db, tx, `second ${n}`)
        }),
      ),
    )
    const failed = outcomes.filter(({ status }) => status === "rejected").length
    expect(failed).toBe(67)
    expect(await teamCount(db)).toBe(2 * (200 - failed))
  })

  test("refuses a transaction and a read inside a transaction", async () => {
    const db = await openDb()
    const nested = db.transaction(() => db.transaction(async () => 1))
    expect((await failureOf(nested)).message).toContain("a transaction inside a transaction")
    const reading = db.transaction(async () => await db.read.select().from(db.t.teams))
    expect((await failureOf(reading)).message).toContain("read inside a transaction")
    expect(await teamCount(db)).toBe(0)
  })

  test("refuses a tx that outlived its run, also while another transaction is running", async () => {
    const db = await openDb()
    let escaped: Tx | undefined
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>()
    let late: Promise<unknown> | undefined
    await db.transaction(async (tx) => {
      escaped = tx
      late = failureOf(woken.then(() => addTeam(db, tx, "late")))
    })
    await db.transaction(async (tx) => {
      wake()
      expect(String(await late)).toContain("outside of its run")
      await addTeam(db, tx, "in time")
    })
    if (escaped === undefined) throw new Error("the transaction did not run")
    expect(String(await failureOf(addTeam(db, escaped, "later")))).toContain("outside of its run")
    expect(await teamCount(db)).toBe(1)
  })

  test("reads again once the transaction a callback was started in is over", async () => {
    const db = await openDb()
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>()
    let later: Promise<number> | undefined
    await db.transaction(async (tx) => {
      await addTeam(db, tx, "web")
      later = woken.then(() => teamCount(db))
    })
    wake()
    expect(await later).toBe(1)
  })

  test("cannot commit after one of its statements failed, even if that was caught", async () => {
    const db = await openDb()
    const caught = db.transaction(async (tx) => {
      await addTeam(db, tx, "web")
      await failureOf(addTeam(db, tx, "web"))
      return "committed"
    })
    expect(problemOf(await failureOf(caught))).toBe("duplicate")
    const wentOn = db.transaction(async (tx) => {
      await addTeam(db, tx, "web")
      await failureOf(addTeam(db, tx, "web"))
      await addTeam(db, tx, "other")
    })
    expect((await failureOf(wentOn)).message).toContain("can only roll back")
    expect(await teamCount(db)).toBe(0)
  })

  test("shows nothing to readers before it is committed", async () => {
    const db = await openDb()
    const { promise: written, resolve: tellWritten } = Promise.withResolvers<void>()
    const { promise: seen, resolve: tellSeen } = Promise.withResolvers<void>()
    const writing = db.transaction(async (tx) => {
      await addTeam(db, tx, "web")
      tellWritten()
      await seen
    })
    await written
    expect(await teamCount(db)).toBe(0)
    tellSeen()
    await writing
    expect(await teamCount(db)).toBe(1)
  })

  test("keeps the caller's async context", async () => {
    const db = await openDb()
    const requests = new AsyncLocalStorage<number>()
    const effects: unknown[] = []
    const seen = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        requests.run(n, () =>
          db.transaction(async (tx) => {
            await addTeam(db, tx, `team ${n}`)
            db.afterCommit(tx, () => effects.push(requests.getStore()))
            return requests.getStore()
          }),
        ),
      ),
    )
    expect(seen).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(effects.toSorted()).toEqual(seen.toSorted())
  })

  test("runs effects and sends signals after the commit, before the caller goes on, and never after a rollback", async () => {
    const db = await openDb()
    const heard: string[] = []
    const unsubscribe = db.onSignal("teams", (payload) => heard.push(payload))
    const { promise: counted, resolve } = Promise.withResolvers<number>()
    await db.transaction(async (tx) => {
      await addTeam(db, tx, "web")
      db.signal(tx, "teams", "added")
      db.afterCommit(tx, () => {
        heard.push("effect")
        resolve(teamCount(db))
      })
      expect(heard).toEqual([])
    })
    expect(heard).toEqual(["effect", "added"])
    expect(await counted).toBe(1)
    await failureOf(
      db.transaction(async (tx) => {
        db.signal(tx, "teams", "never")
        db.afterCommit(tx, () => heard.push("never"))
        throw new Error("no")
      }),
    )
    unsubscribe()
    await db.transaction(async (tx) => db.signal(tx, "teams", "unheard"))
    expect(heard).toEqual(["effect", "added"])
  })

  test("writes what was gathered together, as the last thing of the transaction", async () => {
    const db = await openDb()
    const written: string[][] = []
    const write = async (tx: Tx, names: readonly string[]) => {
      written.push([...names])
      for (const name of names) await addTeam(db, tx, name)
    }
    await db.transaction(async (tx) => {
      db.gather(tx, write, ["a"])
      await addTeam(db, tx, "b")
      db.gather(tx, write, ["c", "d"])
      expect(written).toEqual([])
    })
    expect(written).toEqual([["a", "c", "d"]])
    expect(await teamCount(db)).toBe(4)
  })

  test("has nothing of what was gathered when it fails, or when writing that fails", async () => {
    const db = await openDb()
    const refuse = async () => {
      throw new Error("it is full")
    }
    const write = async (tx: Tx, names: readonly string[]) => {
      for (const name of names) await addTeam(db, tx, name)
    }
    const failing = db.transaction(async (tx) => {
      db.gather(tx, write, ["a"])
      throw new Error("no")
    })
    expect((await failureOf(failing)).message).toBe("no")
    const full = db.transaction(async (tx) => {
      await addTeam(db, tx, "b")
      db.gather(tx, refuse, ["c"])
    })
    expect((await failureOf(full)).message).toBe("it is full")
    expect(await teamCount(db)).toBe(0)
  })

  test("has nothing of anything when the last statement fails, with which COMMIT may have gone out", async () => {
    const db = await openDb()
    const taken = team("taken")
    await db.transaction(async (tx) => void (await tx.insert(db.t.teams).values(taken)))
    const write = async (tx: Tx, rows: readonly (typeof taken)[], beforeLast?: () => void) => {
      beforeLast?.()
      await tx.insert(db.t.teams).values([...rows])
    }
    const effects: string[] = []
    const once = (rows: readonly (typeof taken)[]) =>
      db.transaction(async (tx) => {
        await addTeam(db, tx, newId("beside-"))
        db.gather(tx, write, rows)
        db.afterCommit(tx, () => effects.push("committed"))
      })
    for (let time = 0; time < 30; time += 1)
      expect(problemOf(await failureOf(once([team("new"), taken])))).not.toBeNull()
    expect(await teamCount(db)).toBe(1)
    expect(effects).toEqual([])
    await Promise.all(Array.from({ length: 30 }, (_, n) => once([team(`new ${n}`)])))
    expect(await teamCount(db)).toBe(61)
    expect(effects).toHaveLength(30)
  })

  test("stays committed when an effect throws", async () => {
    const db = await openDb()
    await db.transaction(async (tx) => {
      await addTeam(db, tx, "web")
      db.afterCommit(tx, () => {
        throw new Error("an effect of a test")
      })
    })
    expect(await teamCount(db)).toBe(1)
  })

  test("refuses an effect and a signal outside of the transaction", async () => {
    const db = await openDb()
    const tx = await db.transaction(async (tx) => tx)
    expect(() => db.afterCommit(tx, () => undefined)).toThrow("does not belong")
    expect(() => db.signal(tx, "teams")).toThrow("does not belong")
    await db.transaction(async (tx) => {
      expect(() => db.signal(tx, "teams", "x".repeat(9000))).toThrow("longer than")
    })
  })

  test("tells duplicates, broken references and broken rules apart", async () => {
    const db = await openDb()
    const { teams, owners, apiKeys } = db.t
    const teamId = await db.transaction((tx) => addTeam(db, tx, "web"))
    const owner = { id: "o-1", name: "kim", teamId, createdAt: at, updatedAt: at }
    await db.transaction(async (tx) => await tx.insert(owners).values(owner))
    const problem = async (run: (tx: Tx) => Promise<unknown>) => problemOf(await failureOf(db.transaction(run)))
    expect(await problem((tx) => addTeam(db, tx, "web"))).toBe("duplicate")
    expect(await problem(async (tx) => await tx.insert(teams).values({ ...team("api"), id: teamId }))).toBe("duplicate")
    expect(await problem(async (tx) => await tx.insert(owners).values({ ...owner, id: "o-2", teamId: "t-none" }))).toBe(
      "reference",
    )
    expect(await problem(async (tx) => await tx.delete(teams).where(eq(teams.id, teamId)))).toBe("reference")
    const key = { id: "k-1", name: "ci", hash: "00", principal: "ci", role: sql`'root'`, createdAt: at }
    expect(await problem(async (tx) => await tx.insert(apiKeys).values(key))).toBe("check")
    expect(await problem(async (tx) => await tx.update(teams).set({ name: sql`null` }))).toBe("check")
    expect(problemOf(new Error("something else"))).toBe(null)
  })

  test("keeps parameters and rows out of its errors", async () => {
    const db = await openDb()
    const secret = "hunter2-sealed"
    const writing = await failureOf(
      db.transaction(async (tx) => {
        await tx.insert(db.t.teams).values({ ...team("web"), description: secret, name: sql`null` })
      }),
    )
    const reading = await failureOf(
      (async () => await db.read.select({ x: sql`no_such_column || ${secret}` }).from(db.t.teams))(),
    )
    for (const error of [writing, reading]) {
      expect(Bun.inspect(error, { depth: 5 })).not.toContain(secret)
      expect(JSON.stringify({ ...error, message: error.message, stack: error.stack })).not.toContain(secret)
    }
  })

  test("hot queries run in a transaction and outside, each time with their own values", async () => {
    const db = await openDb()
    const byName = hot("team_by_name", (q: Query) =>
      q
        .select({ name: db.t.teams.name })
        .from(db.t.teams)
        .where(eq(db.t.teams.name, sql.placeholder("name"))),
    )
    const add = hot("add_team", (tx: Tx) =>
      tx.insert(db.t.teams).values({ ...team("x"), id: sql.placeholder("id"), name: sql.placeholder("name") }),
    )
    for (const name of ["web", "api", "mail"]) {
      await db.transaction(async (tx) => {
        await add(tx, { id: newId("t-"), name })
        expect(await byName(tx, { name })).toEqual([{ name }])
      })
      expect(await byName(db.read, { name })).toEqual([{ name }])
    }
    expect(await byName(db.read, { name: "none" })).toEqual([])
  })

  test("two claims of the next row get different rows where transactions run side by side", async () => {
    const db = await openDb()
    await db.transaction(async (tx) => {
      await addTeam(db, tx, "a")
      await addTeam(db, tx, "b")
    })
    const claim = (tx: Tx) =>
      db.skipLocked(tx.select({ name: db.t.teams.name }).from(db.t.teams).orderBy(db.t.teams.name).limit(1))
    const { promise: bothClaimed, resolve } = Promise.withResolvers<void>()
    const first = db.transaction(async (tx) => {
      const [row] = await claim(tx)
      if (dialect === "sqlite") return row?.name
      const second = await exit(() => db.transaction(async (other) => (await claim(other))[0]?.name))
      expect(second).toBe("b")
      resolve()
      await bothClaimed
      return row?.name
    })
    expect(await first).toBe("a")
  })

  test("refuses everything after close, which waits for what is under way", async () => {
    const db = await openDb()
    const running = db.transaction((tx) => addTeam(db, tx, "web"))
    const closed = db.close()
    expect(await running).toStartWith("t-")
    await closed
    expect(String(await failureOf(db.transaction((tx) => addTeam(db, tx, "api"))))).toContain("closed")
  })
})

const outside = AsyncLocalStorage.snapshot()

/** Runs as another request would. */
const exit = <R>(run: () => Promise<R>): Promise<R> => outside(run)
