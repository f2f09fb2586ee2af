import { expect, test } from "bun:test"
import { systemActor } from "../access/actor"
import type { Db } from "../db/db"
import { operatorActor, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi, serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { notificationRoutes } from "./notification.routes"
import { type NewNotification, notificationService, notificationTopic } from "./notification.service"
import { notificationStore } from "./notification.store"

const setUp = (db: Db, actor?: Parameters<typeof resourceApi>[2]) => {
  const parts = serviceParts(db)
  const store = notificationStore(db)
  const notifications = notificationService({ ...parts, notifications: store })
  const notify = (notification: Partial<NewNotification> = {}) =>
    db.transaction((tx) =>
      notifications.notify(tx, { type: "RenewalSuccess", certificateId: "mc-1", message: "renewed", ...notification }),
    )
  const send = resourceApi("notifications", notificationRoutes(notifications), actor)
  const all = () => db.read.select().from(db.t.notifications)
  return { ...parts, store, notifications, notify, send, all }
}

const setEmail = (db: Db, email: string) =>
  db.transaction(async (tx) => {
    await tx.update(db.t.owners).set({ email })
  })

onEachDialect("notifications", (openDb) => {
  test("go to the owner by mail, and by name to every other channel", async () => {
    const db = await openDb()
    const { notify, all } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await notify({ type: "Revocation" })
    await setEmail(db, "ada@example.com")
    await notify({ type: "PolicyViolation" })
    await notify({ channels: ["Slack", "PagerDuty"] })
    await notify({ type: "DeploymentFailure", certificateId: null, channels: ["Webhook", "Email"] })
    expect((await all()).map(({ channel, recipient, status }) => `${channel} ${recipient} ${status}`)).toEqual([
      "Webhook Webhook pending",
      "Email o-1 pending",
      "Email ada@example.com pending",
      "Slack Slack pending",
      "PagerDuty PagerDuty pending",
      "Webhook Webhook pending",
    ])
  })

  test("are announced when their transaction has committed, and gone when it rolls back", async () => {
    const db = await openDb()
    const { notifications, notify, all } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    const { promise: heard, resolve } = Promise.withResolvers<void>()
    db.onSignal(notificationTopic, () => resolve())
    const failing = db.transaction(async (tx) => {
      await notifications.notify(tx, { type: "RenewalFailure", certificateId: "mc-1", message: "never" })
      throw new Error("rolled back")
    })
    await expect(failing).rejects.toThrow("rolled back")
    expect(await all()).toEqual([])
    await notify()
    await heard
    expect(await all()).toHaveLength(1)
  })

  test("are listed with filters, newest sent first and never sent last", async () => {
    const db = await openDb()
    const { notify, send, all, store } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await insertCertificate(db, { id: "mc-2" })
    await notify({ message: "first" })
    await notify({ message: "second: 100%", channels: ["Slack"] })
    await notify({ message: "third", type: "RenewalFailure", certificateId: "mc-2" })
    const [first, second] = await all()
    await db.transaction(async (tx) => {
      await store.update(tx, first?.id ?? "", { status: "sent", sentAt: new Date(Date.UTC(2030, 5, 1)) })
      await store.update(tx, second?.id ?? "", { status: "sent", sentAt: new Date(Date.UTC(2030, 5, 2)) })
    })
    const messages = async (query: string) =>
      (await send("GET", query)).body.data.map(({ message }: { message: string }) => message)
    expect(await messages("")).toEqual(["second: 100%", "first", "third"])
    expect(await messages("?status=sent")).toEqual(["second: 100%", "first"])
    expect(await messages("?status=nonsense")).toEqual([])
    expect(await messages("?type=RenewalFailure")).toEqual(["third"])
    expect(await messages("?channel=Slack")).toEqual(["second: 100%"])
    expect(await messages("?certificate_id=mc-2")).toEqual(["third"])
    expect(await messages("?q=SECOND")).toEqual(["second: 100%"])
    expect(await messages("?q=0%25")).toEqual(["second: 100%"])
    expect(await messages("?q=%25")).toEqual(["second: 100%"])
    expect(await messages("?q=o-1")).toEqual(["first", "third"])
    expect((await send("GET", "?per_page=1&page=2")).body).toMatchObject({ total: 3, page: 2, per_page: 1 })
    const page = (await send("GET", "?page_size=2")).body
    expect(page.data.map(({ message }: { message: string }) => message)).toEqual(["third", "second: 100%"])
    expect(await messages(`?page_size=2&cursor=${page.next_cursor}`)).toEqual(["first"])
  })

  test("are shown, marked as read and sent again", async () => {
    const db = await openDb()
    const { notify, send, all, store, actionsOn } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await notify({ severity: "critical" })
    const [row] = await all()
    const id = row?.id ?? ""
    const shown = (await send("GET", `/${id}`)).body
    expect(shown).toEqual({
      id,
      type: "RenewalSuccess",
      certificate_id: "mc-1",
      channel: "Email",
      recipient: "o-1",
      message: "renewed",
      status: "pending",
      retry_count: 0,
      created_at: shown.created_at,
    })
    await db.transaction((tx) => store.update(tx, id, { status: "dead", retryCount: 4, lastError: "x", error: "x" }))
    expect((await send("POST", `/${id}/requeue`)).body).toEqual({ status: "requeued" })
    expect((await send("GET", `/${id}`)).body).toEqual(shown)
    expect((await send("POST", `/${id}/read`)).body).toEqual({ status: "marked_as_read" })
    expect((await send("GET", `/${id}`)).body).toEqual({ ...shown, status: "read" })
    expect(await actionsOn(id)).toEqual(["notification_requeued", "notification_read"])
    for (const path of ["", "/read", "/requeue"]) {
      expect((await send(path === "" ? "GET" : "POST", `/notif-none${path}`)).status).toBe(404)
    }
  })

  test("are not changed by those who may only read", async () => {
    const db = await openDb()
    const { send } = setUp(db, viewerActor)
    expect((await send("GET", "")).status).toBe(200)
    expect((await send("POST", "/notif-1/requeue")).status).toBe(403)
    expect((await send("POST", "/notif-1/read")).status).toBe(403)
  })

  test("that were sent again by the scheduler's own hand are audited as its", async () => {
    const db = await openDb()
    const { notify, notifications, all, audit } = setUp(db)
    await insertCertificate(db, { id: "mc-1" })
    await notify()
    const [row] = await all()
    const id = row?.id ?? ""
    await notifications.markRead(id, operatorActor)
    await notifications.markRead(id, operatorActor)
    await notifications.requeue(id, systemActor)
    await notifications.requeue(id, systemActor)
    const { rows } = await audit.list({ resourceType: "notification" }, { page: 1, per_page: 10 })
    // Twice is no further change, and no further event.
    expect(rows).toMatchObject([
      { actor: "system", action: "notification_requeued", details: { from: "read", to: "pending" } },
      { actor: "operator", action: "notification_read", details: { from: "pending", to: "read" } },
    ])
  })
})
