import { expect, test } from "bun:test"
import { asc } from "drizzle-orm"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { auditStore } from "./audit.store"
import { leafHash } from "./leaf"
import { leafStore } from "./leaf.store"
import { sealedTopic, sealingService } from "./sealing.service"

onEachDialect("sealing", (openDb) => {
  const open = async () => {
    const db = await openDb()
    const clock = testClock()
    const leaves = leafStore(db)
    return { db, clock, leaves, sealing: sealingService({ db, leaves, clock }) }
  }
  const add = (db: Db, count: number, timestamp: Date) =>
    db.transaction((tx) =>
      auditStore(db).insert(
        tx,
        Array.from({ length: count }, () => ({
          id: newId("audit-"),
          actor: "ops",
          actorType: "User" as const,
          action: "certificate_created",
          resourceType: "certificate",
          resourceId: "mc-1",
          details: { n: 1, text: "ä" },
          timestamp,
        })),
      ),
    )
  const seqs = async (db: Db) =>
    (await db.read.select().from(db.t.auditLeaves).orderBy(asc(db.t.auditLeaves.seq))).map(({ seq }) => seq)

  test("numbers every event once, without gaps, whatever the batches", async () => {
    const { db, clock, leaves, sealing } = await open()
    expect(await sealing.seal()).toBe(0)
    await add(db, 2300, clock.now())
    expect(await sealing.seal()).toBe(2300)
    clock.advance(1000)
    await add(db, 3, clock.now())
    expect([await sealing.seal(), await sealing.seal()]).toEqual([3, 0])
    expect(await seqs(db)).toEqual(Array.from({ length: 2303 }, (_, index) => index + 1))
    const sealed = await leaves.sealedAfter(2300, 10)
    const stored = await db.read.select().from(db.t.auditLeaves)
    for (const { seq, event } of sealed) {
      expect(stored.find((leaf) => leaf.seq === seq)).toMatchObject({ eventId: event.id, leafHash: leafHash(event) })
    }
  })

  test("looks back once, however many events of one moment there are", async () => {
    const { db, clock, leaves } = await open()
    let lookedBack = 0
    const counted = {
      ...leaves,
      unsealedIn: (...given: Parameters<typeof leaves.unsealedIn>) => {
        lookedBack += 1
        return leaves.unsealedIn(...given)
      },
    }
    const sealing = sealingService({ db, leaves: counted, clock })
    await add(db, 600, clock.now())
    await sealing.seal()
    lookedBack = 0
    await add(db, 2300, clock.now())
    expect(await sealing.seal()).toBe(2300)
    // SQLite finds there what is new. PostgreSQL compares all that is unsealed, once in the short window and once in a slice of the wide one.
    expect(lookedBack).toBe(db.dialect === "sqlite" ? 10 : 2)
  })

  test("finds an event that committed late, and an older one when it looks at everything", async () => {
    const { db, clock, sealing } = await open()
    await add(db, 1, clock.now())
    await sealing.seal()
    await add(db, 1, new Date(clock.now().getTime() - 900))
    expect(await sealing.seal()).toBe(1)
    // SQLite has them in the order of their commits, and finds each at once.
    const atOnce = db.dialect === "sqlite" ? 1 : 0
    await add(db, 1, new Date(clock.now().getTime() - 10_000))
    expect(await sealing.seal()).toBe(atOnce)
    clock.advance(5_000)
    expect(await sealing.seal()).toBe(1 - atOnce)
    // Later than a transaction may take: a clock that is wrong, looked for once in a minute.
    await add(db, 1, new Date(clock.now().getTime() - 240_000))
    expect(await sealing.seal()).toBe(atOnce)
    clock.advance(60_000)
    expect(await sealing.seal()).toBe(1 - atOnce)
    await add(db, 1, new Date(clock.now().getTime() - 86_400_000))
    expect(await sealing.seal()).toBe(atOnce)
    expect(await sealing.seal({ everything: true })).toBe(1 - atOnce)
    expect(await seqs(db)).toEqual([1, 2, 3, 4, 5])
    await add(db, 2500, new Date(clock.now().getTime() - 86_400_000))
    expect(await sealing.seal({ everything: true })).toBe(2500)
    expect(await sealing.seal({ everything: true })).toBe(0)
  })

  test("finds an older event within a minute, however much there is to seal", async () => {
    const { db, clock, sealing } = await open()
    await add(db, 1, clock.now())
    await sealing.seal()
    await add(db, 1, new Date(clock.now().getTime() - 299_000))
    let sealed = 0
    for (let second = 0; second < 60; second += 1) {
      clock.advance(1000)
      await add(db, 1, clock.now())
      sealed += await sealing.seal()
    }
    expect(sealed).toBe(61)
  })

  test("an event from a clock that was ahead hides none that follow", async () => {
    const { db, clock, sealing } = await open()
    await add(db, 1, new Date(clock.now().getTime() + 86_400_000))
    await sealing.seal()
    await add(db, 1, clock.now())
    expect(await sealing.seal()).toBe(1)
  })

  test("two at once leave no gap and number nothing twice", async () => {
    const { db, clock, sealing } = await open()
    await add(db, 200, clock.now())
    await Promise.allSettled([sealing.seal(), sealing.seal(), sealing.seal()])
    await sealing.seal()
    expect(await seqs(db)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
  })

  test("tells everybody how far it came", async () => {
    const { db, clock, sealing } = await open()
    const { promise, resolve } = Promise.withResolvers<string>()
    const unsubscribe = db.onSignal(sealedTopic, resolve)
    await add(db, 2, clock.now())
    await sealing.seal()
    expect(await promise).toBe("2")
    unsubscribe()
  })
})
