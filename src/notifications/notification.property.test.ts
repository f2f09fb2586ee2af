/** The life of notifications: several delivery workers on two servers, a channel that fails, and people who read and requeue. */
import { expect } from "bun:test"
import { inArray } from "drizzle-orm"
import fc from "fast-check"
import { type Channel, deliveryError, type Notifier } from "../connectors/notifiers/contract"
import type { Db } from "../db/db"
import { operatorActor } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { race } from "../testing/race"
import { illegalChanges, type RecordedChanges, recordChanges, untoldChanges } from "../testing/recorded-changes"
import { serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { type DeliveryService, deliveryService } from "./delivery.service"
import { canMove } from "./notification.machine"
import { type NotificationService, notificationService } from "./notification.service"
import { notificationStore } from "./notification.store"

const minuteMs = 60_000
const never = new AbortController().signal

type Command =
  | { does: "notify"; channel: Channel }
  | { does: "deliver" | "retry" }
  | { does: "read" | "requeue"; pick: number }
  | { does: "break"; isBroken: boolean }
  | { does: "wait"; ms: number }

interface World {
  readonly clock: ReturnType<typeof testClock>
  readonly servers: readonly { db: Db; notifications: NotificationService; deliveries: DeliveryService }[]
  readonly changes: RecordedChanges
  readonly slack: { isBroken: boolean; delivered: string[] }
  readonly errors: unknown[]
}

const does = <const D extends string>(...names: D[]) => fc.constantFrom(...names)
const pick = fc.nat({ max: 3 })

const first = <R>(rows: readonly R[]): R => {
  const [row] = rows
  if (row === undefined) throw new Error("there is none")
  return row
}

const serverOn = (db: Db, clock: World["clock"], notifier: Notifier, errors: unknown[]) => {
  const parts = { ...serviceParts(db), clock, notifications: notificationStore(db) }
  const onRowError = (_id: string, error: unknown) => errors.push(error)
  return {
    db,
    notifications: notificationService(parts),
    deliveries: deliveryService({ ...parts, notifiers: new Map([["Slack", notifier]]), onRowError }),
  }
}

race<Command, World>("a notification", {
  command: fc.oneof(
    // Teams is not configured.
    {
      weight: 2,
      arbitrary: fc.record({ does: does("notify"), channel: fc.constantFrom<Channel[]>("Slack", "Slack", "Teams") }),
    },
    { weight: 6, arbitrary: fc.record({ does: does("deliver", "retry") }) },
    { weight: 2, arbitrary: fc.record({ does: does("read", "requeue"), pick }) },
    { weight: 2, arbitrary: fc.record({ does: does("break"), isBroken: fc.boolean() }) },
    { weight: 4, arbitrary: fc.record({ does: does("wait"), ms: fc.constantFrom(1, minuteMs, 8 * minuteMs) }) },
  ),
  refusals: [],

  async open(handles) {
    const clock = testClock("2030-01-01T00:00:00.000Z")
    const slack: World["slack"] = { isBroken: false, delivered: [] }
    const notifier: Notifier = {
      async send({ id }) {
        const { isBroken } = slack
        await Bun.sleep(0)
        if (isBroken) throw deliveryError("upstream_5xx", "HTTP 500")
        slack.delivered.push(id)
      },
      async testConnection() {},
    }
    await insertCertificate(handles[0], { id: "mc-1" })
    const errors: unknown[] = []
    const servers = handles.map((db) => serverOn(db, clock, notifier, errors))
    const state = (row: string) => `${row}.status`
    return {
      clock,
      servers,
      errors,
      slack,
      changes: await recordChanges(handles[0], { table: "notification_events", state }),
    }
  },

  async begin({ slack, servers, changes }) {
    Object.assign(slack, { isBroken: false, delivered: [] })
    const { db } = first(servers)
    await db.transaction(async (tx) => {
      await tx.delete(db.t.notifications)
    })
    await changes.forget()
  },

  async perform({ clock, servers, slack }, command, at) {
    const { db, notifications, deliveries } = servers[at] ?? first(servers)
    switch (command.does) {
      case "notify": {
        const { channel } = command
        const news = { type: "RenewalFailure", certificateId: "mc-1", message: "text", channels: [channel] } as const
        return db.transaction((tx) => notifications.notify(tx, news))
      }
      case "deliver":
        return Promise.all(deliveries.lanes.map((lane) => lane.deliverPending(never)))
      case "retry":
        return Promise.all(deliveries.lanes.map((lane) => lane.retry(never)))
      case "break":
        slack.isBroken = command.isBroken
        return
      case "wait":
        return clock.advance(command.ms)
      case "read":
      case "requeue": {
        const { rows } = await notifications.list({}, { limit: 100, offset: 0 })
        const row = rows[command.pick]
        if (row === undefined) return
        return command.does === "read"
          ? notifications.markRead(row.id, operatorActor)
          : notifications.requeue(row.id, operatorActor)
      }
    }
  },

  async check({ servers, changes, slack, errors }) {
    expect(errors).toEqual([])
    const { db } = first(servers)
    const happened = await changes.all()
    expect(illegalChanges(happened, canMove)).toEqual([])

    const rows = await db.read.select().from(db.t.notifications)
    const ids = rows.map(({ id }) => id)
    const { auditEvents } = db.t
    const events =
      ids.length === 0
        ? []
        : await db.read.select().from(auditEvents).where(inArray(auditEvents.resourceId, ids)).orderBy(auditEvents.id)
    // What people decide is told, deliveries are not: they would fill the trail.
    const decided = happened.filter(({ from, to }) => from !== null && (to === "read" || to === "pending"))
    const told = events.map(({ resourceId, details: { from, to } }) => ({
      id: resourceId,
      from: String(from),
      to: String(to),
    }))
    expect(untoldChanges(decided, told)).toEqual([])

    for (const row of rows) {
      const requeued = decided.filter(({ id, to }) => id === row.id && to === "pending").length
      const delivered = slack.delivered.filter((id) => id === row.id).length
      // Only a person can make the same message go out twice.
      expect(delivered).toBeLessThanOrEqual(1 + requeued)
      if (row.status === "sent") expect(delivered > 0).toBe(row.error === null)
      if (row.status === "failed" || row.status === "dead") expect(row.lastError).toStartWith("upstream_5xx")
      expect(
        row.status === "failed" ? row.nextRetryAt !== null : row.status === "pending" || row.nextRetryAt === null,
      ).toBe(true)
      expect(row.retryCount).toBeWithin(0, 5)
    }
  },
})
