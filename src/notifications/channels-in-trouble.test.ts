/**
 * What people may rely on when their mail server, their webhook or their chat is in trouble: the lanes of delivery as the scheduler
 * runs them, real sockets at their end, and a clock that the test moves. On PostgreSQL two servers share the work.
 */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test"
import { openNotifiers } from "../connectors/notifiers/catalog"
import { type FakeChannel, startChannel } from "../connectors/notifiers/channel.fake"
import type { Channel, Notifier } from "../connectors/notifiers/contract"
import type { Db } from "../db/db"
import { leaseStore } from "../db/lease.store"
import { loops } from "../scheduler/loops"
import { type Scheduler, scheduler, soleHolder } from "../scheduler/scheduler"
import { operatorActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { onEachDialect, openBeside } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { until } from "../testing/until"
import { deliveryService } from "./delivery.service"
import { notificationService } from "./notification.service"
import { notificationStore } from "./notification.store"

// Loops tick once a second at most, and slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs
const startedAt = "2030-01-01T00:00:00.000Z"
const names = ["Email", "Webhook", "Slack"] as const
type Name = (typeof names)[number]

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const stop of open.splice(0).reverse()) await stop()
})

/** Every loop of a server that delivers notifications, and no other. */
const deliveryLoops = (deliveries: ReturnType<typeof deliveryService>) =>
  loops(
    { deliveries, counters: { wakeOn: "nothing" } } as unknown as Parameters<typeof loops>[0],
    {
      ...{ renewalCheckMs: dayMs, jobProcessorMs: dayMs, jobRetryMs: dayMs, jobTimeoutMs: dayMs, agentHealthMs: dayMs },
      ...{ notificationProcessMs: 1000, notificationRetryMs: 1000 },
      digest: { enabled: false, intervalMs: dayMs },
    } as Parameters<typeof loops>[1],
  ).filter(({ name }) => name.startsWith("notification-"))

const startServer = async (
  db: Db,
  name: string,
  notifiers: ReadonlyMap<Channel, Notifier>,
  clock: ReturnType<typeof testClock>,
) => {
  const notifications = notificationStore(db)
  const errors: unknown[] = []
  const onRowError = (_id: string, error: unknown) => errors.push(error)
  const deliveries = deliveryService({ db, notifications, notifiers, clock, onRowError })
  const timetable: Scheduler = scheduler({
    loops: deliveryLoops(deliveries),
    leases: db.dialect === "sqlite" ? soleHolder : leaseStore(db),
    serverId: name,
    onSignal: db.onSignal,
    onHeartbeat: async () => {},
  })
  await timetable.start()
  open.push(() => timetable.stop(5000))
  return { errors, stop: () => timetable.stop(5000) }
}

onEachDialect("channels in trouble", (openDb, dialect) => {
  test("a mail server that fails, a chat that hangs and a webhook that recovers: retries at the told times, dead after five, sent when requeued, and nobody waits for another", async () => {
    const db = await openDb()
    const clock = testClock(startedAt)
    const channels = new Map<Name, FakeChannel>()
    for (const name of names) channels.set(name, await startChannel(name))
    for (const fake of channels.values()) open.push(() => fake.stop())
    const channel = (name: Name): FakeChannel => {
      const found = channels.get(name)
      if (found === undefined) throw new Error(`there is no ${name}`)
      return found
    }
    /** Minutes since the start at which each channel was tried. */
    const tried: Record<string, number[]> = { Email: [], Webhook: [], Slack: [] }
    const notifiers = new Map<Channel, Notifier>(
      names.flatMap((name) =>
        [
          ...openNotifiers(
            { [name]: channel(name).config },
            { ...channel(name).deps, clock, timeoutMs: name === "Slack" ? 5000 : 30_000 },
          ),
        ].map(([kind, notifier]) => [
          kind,
          {
            ...notifier,
            send(notice) {
              tried[name]?.push((clock.now().getTime() - Date.parse(startedAt)) / minuteMs)
              return notifier.send(notice)
            },
          },
        ]),
      ),
    )
    await insertCertificate(db, { id: "mc-1" })
    await db.transaction(async (tx) => {
      await tx.update(db.t.owners).set({ email: "ada@example.com" })
    })
    const parts = { ...serviceParts(db), clock, notifications: notificationStore(db) }
    const notifications = notificationService(parts)
    const tell = (...to: Name[]) =>
      db.transaction((tx) =>
        notifications.notify(tx, { type: "RenewalFailure", certificateId: "mc-1", message: "text", channels: to }),
      )
    const row = async (name: Name) => {
      const [found] = (await db.read.select().from(db.t.notifications)).filter((each) => each.channel === name)
      if (found === undefined) throw new Error(`nothing was told to ${name}`)
      return found
    }

    const servers = [await startServer(db, "one", notifiers, clock)]
    if (dialect === "postgres") servers.push(await startServer(await openBeside(db), "two", notifiers, clock))

    // The mail server fails for good, the chat takes the connection and says nothing, the webhook fails twice.
    channel("Email").fail("broken")
    channel("Slack").fail("hang")
    channel("Webhook").fail("broken", 2)
    await tell(...names)

    // The chat hangs: everybody else is served meanwhile, the webhook until its message has arrived.
    await until(
      "mail and webhook have failed",
      async () => (await row("Email")).status === "failed" && (await row("Webhook")).status === "failed",
    )
    expect(channel("Slack").delivered()).toBe(0)
    clock.advance(minuteMs)
    await until("both have been tried again", () => tried.Email?.length === 2 && tried.Webhook?.length === 2)
    await until("the webhook has failed again", async () => (await row("Webhook")).retryCount === 1)
    await until("the mail has failed again", async () => (await row("Email")).retryCount === 1)
    clock.advance(minuteMs)
    await until("the webhook has recovered", async () => (await row("Webhook")).status === "sent")
    expect(channel("Slack").delivered()).toBe(0)
    expect(tried.Webhook).toEqual([0, 1, 2])
    expect(channel("Webhook").delivered()).toBe(1)

    // Retries of the mail at the told times until it is given up.
    for (const wait of [2, 4, 8]) {
      await until("the mail waits for its next retry", async () => {
        const { status, nextRetryAt } = await row("Email")
        return status === "failed" && nextRetryAt?.getTime() === clock.now().getTime() + wait * minuteMs
      })
      clock.advance(wait * minuteMs - 1)
      clock.advance(1)
    }
    await until("the mail is given up", async () => (await row("Email")).status === "dead")
    expect(tried.Email).toEqual([0, 1, 2, 4, 8, 16])
    expect(await row("Email")).toMatchObject({
      retryCount: 4,
      nextRetryAt: null,
      lastError: expect.stringContaining("554"),
    })

    // Nothing brings it back by itself; requeued, it arrives.
    channel("Email").recover()
    clock.advance(dayMs)
    expect(channel("Email").delivered()).toBe(0)
    await notifications.requeue((await row("Email")).id, operatorActor)
    await until("the mail has arrived", async () => (await row("Email")).status === "sent")
    expect(channel("Email").delivered()).toBe(1)
    expect(await row("Email")).toMatchObject({ retryCount: 0, error: null, lastError: null })

    // The chat is back: what hung has failed by its time limit, and is sent with the next retry.
    channel("Slack").recover()
    await until("the chat has recovered", async () => {
      const { status, nextRetryAt } = await row("Slack")
      const waitMs = (nextRetryAt?.getTime() ?? 0) - clock.now().getTime()
      // More than the longest pause after so few failures is the claim of a delivery under way.
      if (status === "failed" && waitMs > 0 && waitMs <= 2 * minuteMs) clock.advance(waitMs)
      return status === "sent"
    })
    expect(channel("Slack").delivered()).toBe(1)
    expect(servers.flatMap(({ errors }) => errors)).toEqual([])
  })

  test("a server that is killed in the middle of a delivery leaves it to the next, after its claim has ended", async () => {
    const db = await openDb()
    const clock = testClock(startedAt)
    const slack = await startChannel("Slack")
    open.push(() => slack.stop())
    const notifiers = openNotifiers({ Slack: slack.config }, { ...slack.deps, clock })
    await insertCertificate(db, { id: "mc-1" })
    const notifications = notificationService({ ...serviceParts(db), clock, notifications: notificationStore(db) })
    const [claimed] = await db.transaction(async (tx) => {
      await notifications.notify(tx, {
        type: "RenewalFailure",
        certificateId: "mc-1",
        message: "text",
        channels: ["Slack"],
      })
      // As the dead server left it.
      return tx
        .update(db.t.notifications)
        .set({ nextRetryAt: new Date(clock.now().getTime() + 5 * minuteMs) })
        .returning()
    })
    const next = await startServer(db, "next", notifiers, clock)
    const other = await db.transaction((tx) =>
      notifications.notify(tx, {
        type: "RenewalFailure",
        certificateId: "mc-1",
        message: "later",
        channels: ["Slack"],
      }),
    )
    expect(other).toBeUndefined()
    await until("what came later has gone out", () => slack.delivered() === 1)
    expect((await notifications.get(claimed?.id ?? "")).status).toBe("pending")
    clock.advance(5 * minuteMs)
    await until(
      "the claimed one has gone out too",
      async () => (await notifications.get(claimed?.id ?? "")).status === "sent",
    )
    expect(slack.delivered()).toBe(2)
    expect(next.errors).toEqual([])
  })
})
