import { afterEach, describe, expect, test } from "bun:test"
import fc from "fast-check"
import { openNotifiers } from "../connectors/notifiers/catalog"
import { type FakeChannel, startChannel } from "../connectors/notifiers/channel.fake"
import { type Channel, channels, type Notice, type Notifier } from "../connectors/notifiers/contract"
import type { Db } from "../db/db"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { until } from "../testing/until"
import { deliveryService } from "./delivery.service"
import { afterFailure } from "./notification.machine"
import { notificationService } from "./notification.service"
import { notificationStore } from "./notification.store"

const minute = 60_000
const never = new AbortController().signal
const fakes: FakeChannel[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

const startFakes = async (...names: Channel[]) => {
  const started = await Promise.all(names.map(async (name) => [name, await startChannel(name)] as const))
  fakes.push(...started.map(([, fake]) => fake))
  return started
}

const setUp = async (db: Db, names: Channel[] = ["Slack"], timeoutMs = 10_000) => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  const parts = { ...serviceParts(db), clock }
  const store = notificationStore(db)
  const started = await startFakes(...names)
  const notifiers = new Map<Channel, Notifier>(
    started.flatMap(([name, fake]) => [
      ...openNotifiers({ [name]: fake.config }, { ...fake.deps, clock, timeoutMs }).entries(),
    ]),
  )
  const errors: unknown[] = []
  const service = (given: ReadonlyMap<Channel, Notifier> = notifiers) =>
    deliveryService({
      db,
      notifications: store,
      notifiers: given,
      clock,
      onRowError: (_id, error) => errors.push(error),
    })
  const notifications = notificationService({ ...parts, notifications: store })
  await insertCertificate(db, { id: "mc-1" })
  await db.transaction(async (tx) => {
    await tx.update(db.t.owners).set({ email: "ada@example.com" })
  })
  const { lanes } = service()
  return {
    clock,
    store,
    service,
    lanes,
    errors,
    notifications,
    notifiers,
    fakes: new Map(started),
    notify: (channel: Channel, message = "text") =>
      db.transaction((tx) =>
        notifications.notify(tx, { type: "RenewalFailure", certificateId: "mc-1", message, channels: [channel] }),
      ),
    pending: () => Promise.all(lanes.map((lane) => lane.deliverPending(never))),
    retry: () => Promise.all(lanes.map((lane) => lane.retry(never))),
    rows: () => db.read.select().from(db.t.notifications).orderBy(db.t.notifications.id),
  }
}

describe("what a failure makes of a row", () => {
  const now = new Date(Date.UTC(2030, 0, 1))
  const inMinutes = (n: number) => new Date(now.getTime() + n * minute)

  test("follows the table", () => {
    expect(afterFailure({ status: "pending", retryCount: 0 }, "x", now, null)).toMatchObject({
      status: "failed",
      retryCount: 0,
      nextRetryAt: inMinutes(1),
    })
    const waits = [0, 1, 2, 3].map((retryCount) => afterFailure({ status: "failed", retryCount }, "x", now, null))
    expect(waits.map(({ retryCount, nextRetryAt }) => [retryCount, nextRetryAt])).toEqual([
      [1, inMinutes(1)],
      [2, inMinutes(2)],
      [3, inMinutes(4)],
      [4, inMinutes(8)],
    ])
    expect(afterFailure({ status: "failed", retryCount: 4 }, "x", now, null)).toEqual({
      status: "dead",
      nextRetryAt: null,
      lastError: "x",
      error: "x",
    })
  })

  test("waits for as long as the channel asked, never shorter than by itself, and always ends", () => {
    expect(afterFailure({ status: "pending", retryCount: 0 }, "x", now, 600).nextRetryAt).toEqual(inMinutes(10))
    expect(afterFailure({ status: "pending", retryCount: 0 }, "x", now, 5).nextRetryAt).toEqual(inMinutes(1))
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(7200)), { minLength: 6, maxLength: 6 }), (waits) => {
        let row: { status: "pending" | "failed" | "dead"; retryCount: number } = { status: "pending", retryCount: 0 }
        for (const seconds of waits) {
          expect(row.status).not.toBe("dead")
          row = { ...row, ...(afterFailure(row, "x", now, seconds) as typeof row) }
        }
        expect(row).toMatchObject({ status: "dead", retryCount: 4 })
      }),
    )
  })
})

onEachDialect("delivery", (openDb) => {
  test("reaches every channel", async () => {
    const db = await openDb()
    const { notify, pending, rows, fakes, clock } = await setUp(db, [...channels])
    for (const channel of channels) await notify(channel)
    await pending()
    for (const row of await rows()) {
      expect(row).toMatchObject({ status: "sent", sentAt: clock.now(), nextRetryAt: null, error: null })
    }
    for (const fake of fakes.values()) expect(fake.delivered()).toBe(1)
  })

  test("of what has no channel is marked, not tried", async () => {
    const db = await openDb()
    const { notify, pending, rows } = await setUp(db, [])
    await notify("Teams")
    await pending()
    expect(await rows()).toMatchObject([{ status: "sent", error: "no notifier configured", sentAt: null }])
  })

  test("of a failed row whose channel is gone ends in the same way", async () => {
    const db = await openDb()
    const { notify, pending, rows, fakes, service, clock } = await setUp(db)
    fakes.get("Slack")?.fail("broken")
    await notify("Slack")
    await pending()
    clock.advance(minute)
    for (const lane of service(new Map()).lanes) await lane.retry(never)
    expect(await rows()).toMatchObject([{ status: "sent", error: "no notifier configured", nextRetryAt: null }])
  })

  test("is tried again at the told times, given up after five retries, and done when it is sent again", async () => {
    const db = await openDb()
    const { notify, pending, retry, rows, fakes, clock, notifications, errors } = await setUp(db)
    const slack = fakes.get("Slack")
    slack?.fail("broken")
    await notify("Slack")
    await pending()
    const row = async () => (await rows())[0]
    const waits: number[] = []
    for (let current = await row(); current?.status === "failed"; current = await row()) {
      const wait = (current.nextRetryAt?.getTime() ?? 0) - clock.now().getTime()
      waits.push(wait / minute)
      expect(current.lastError).toStartWith("upstream_5xx: HTTP 500")
      clock.advance(wait - 1)
      await retry()
      expect(await row()).toEqual(current)
      clock.advance(1)
      await retry()
    }
    expect(waits).toEqual([1, 1, 2, 4, 8])
    expect(await row()).toMatchObject({ status: "dead", retryCount: 4, nextRetryAt: null })
    expect((await row())?.lastError).toStartWith("upstream_5xx")
    slack?.recover()
    clock.advance(24 * 60 * minute)
    await retry()
    await pending()
    expect(slack?.delivered()).toBe(0)
    await notifications.requeue((await row())?.id ?? "", { name: "ops", type: "User", role: "operator" })
    await pending()
    expect(await row()).toMatchObject({ status: "sent", retryCount: 0, lastError: null, error: null })
    expect(slack?.delivered()).toBe(1)
    expect(errors).toEqual([])
  })

  test("that succeeds on a retry keeps the count", async () => {
    const db = await openDb()
    const { notify, pending, retry, rows, fakes, clock } = await setUp(db)
    fakes.get("Slack")?.fail("broken", 2)
    await notify("Slack")
    await pending()
    clock.advance(minute)
    await retry()
    clock.advance(minute)
    await retry()
    expect(await rows()).toMatchObject([{ status: "sent", retryCount: 1, sentAt: clock.now(), error: null }])
  })

  test("leaves a channel in peace for as long as it asks", async () => {
    const db = await openDb()
    const { notify, pending, rows, fakes, clock } = await setUp(db)
    const slack = fakes.get("Slack")
    slack?.fail("busy", 1)
    await notify("Slack")
    await pending()
    await notify("Slack")
    await pending()
    expect((await rows()).map(({ status }) => status)).toEqual(["failed", "pending"])
    clock.advance(7000)
    await pending()
    expect((await rows()).map(({ status }) => status)).toEqual(["failed", "sent"])
  })

  test("is not held up on one channel by another that hangs", async () => {
    const db = await openDb()
    const { notify, rows, fakes, lanes } = await setUp(db, ["Slack", "Teams", "Email"])
    const slack = fakes.get("Slack")
    slack?.fail("hang")
    for (let i = 0; i < 6; i++) await notify("Slack")
    await notify("Teams")
    await notify("Email")
    let isSlackDone = false
    const slackPass = lanes[0]?.deliverPending(never).then(() => {
      isSlackDone = true
    })
    await Promise.all(lanes.slice(1).map((lane) => lane.deliverPending(never)))
    expect((await rows()).map(({ status }) => status).filter((status) => status === "sent")).toHaveLength(2)
    expect(isSlackDone).toBe(false)
    await slack?.stop()
    await slackPass
  })

  test("happens once, however many servers look at the same moment", async () => {
    const db = await openDb()
    const { notify, rows, fakes, service } = await setUp(db)
    for (let i = 0; i < 20; i++) await notify("Slack")
    const servers = [service(), service(), service()]
    await Promise.all(servers.flatMap(({ lanes }) => lanes.map((lane) => lane.deliverPending(never))))
    expect(fakes.get("Slack")?.delivered()).toBe(20)
    expect((await rows()).every(({ status }) => status === "sent")).toBe(true)
  })

  test("is taken up by another server when the one that had claimed it died, five minutes later", async () => {
    const db = await openDb()
    const { notify, pending, rows, fakes, service, clock } = await setUp(db)
    await notify("Slack")
    const sent: Notice[] = []
    const dying: Notifier = {
      send: (notice) => {
        sent.push(notice)
        return new Promise(() => {})
      },
      testConnection: async () => {},
    }
    void service(new Map([["Slack", dying]])).lanes[0]?.deliverPending(never)
    await until("the message is on its way", () => sent.length === 1)
    await pending()
    expect(fakes.get("Slack")?.delivered()).toBe(0)
    clock.advance(5 * minute)
    await pending()
    await pending()
    expect(fakes.get("Slack")?.delivered()).toBe(1)
    expect(await rows()).toMatchObject([{ status: "sent" }])
  })

  test("does not undo what somebody did meanwhile", async () => {
    const db = await openDb()
    const { notify, rows, notifications, service } = await setUp(db)
    await notify("Slack")
    const held = Promise.withResolvers<void>()
    const slow: Notifier = { send: () => held.promise, testConnection: async () => {} }
    const pass = service(new Map([["Slack", slow]])).lanes[0]?.deliverPending(never)
    await until("the row is claimed", async () => (await rows())[0]?.nextRetryAt !== null)
    await notifications.markRead((await rows())[0]?.id ?? "", { name: "ops", type: "User", role: "operator" })
    held.resolve()
    await pass
    expect(await rows()).toMatchObject([{ status: "read", sentAt: null }])
  })

  test("takes at most a thousand, the oldest first, and stops when it is told to", async () => {
    const db = await openDb()
    const { rows, service, store, clock } = await setUp(db)
    const base = { type: "RenewalFailure", certificateId: "mc-1", channel: "Slack", recipient: "Slack", message: "x" }
    const state = {
      status: "pending",
      sentAt: null,
      error: null,
      retryCount: 0,
      nextRetryAt: null,
      lastError: null,
    } as const
    await db.transaction((tx) =>
      store.insert(
        tx,
        Array.from({ length: 1005 }, (_, i) => ({
          ...base,
          ...state,
          id: `notif-${String(i).padStart(5, "0")}`,
          createdAt: new Date(clock.now().getTime() + i),
        })),
      ),
    )
    const sent: string[] = []
    const abort = new AbortController()
    const quick: Notifier = {
      async send({ id }) {
        sent.push(id)
      },
      testConnection: async () => {},
    }
    const [lane] = service(new Map([["Slack", quick]])).lanes
    abort.abort()
    await lane?.deliverPending(abort.signal)
    expect(sent).toEqual([])
    await lane?.deliverPending(never)
    expect(sent).toHaveLength(1000)
    expect((await rows()).filter(({ status }) => status === "pending").map(({ id }) => id)).toEqual([
      "notif-01000",
      "notif-01001",
      "notif-01002",
      "notif-01003",
      "notif-01004",
    ])
  }, 60_000)

  test("leaves demo rows as they are", async () => {
    const db = await openDb()
    const { notify, pending, rows, fakes } = await setUp(db)
    await notify("Slack")
    await notify("Teams")
    await db.transaction(async (tx) => {
      await tx.update(db.t.certificates).set({ tags: { demo: "true" } })
    })
    await pending()
    expect((await rows()).map(({ status }) => status)).toEqual(["pending", "pending"])
    expect(fakes.get("Slack")?.delivered()).toBe(0)
  })

  test("of one bad row stops no other", async () => {
    const db = await openDb()
    const { notify, pending, rows } = await setUp(db, ["Email"])
    await db.transaction(async (tx) => {
      await tx.update(db.t.owners).set({ email: "" })
    })
    await notify("Email")
    await db.transaction(async (tx) => {
      await tx.update(db.t.owners).set({ email: "ada@example.com" })
    })
    await notify("Email")
    await pending()
    expect(await rows()).toMatchObject([
      { status: "failed", recipient: "o-1", lastError: 'validation: "o-1" is not an e-mail address' },
      { status: "sent" },
    ])
  })
})
