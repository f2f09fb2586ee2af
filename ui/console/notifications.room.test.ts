import { expect, test } from "bun:test"
import { openConsole } from "../../src/testing/console"
import { onEachDialect } from "../../src/testing/on-each-dialect"
import { insertCertificate } from "../../src/testing/rows"

onEachDialect("the notification pages", (openDb) => {
  const open = async () => {
    const db = await openDb()
    const stage = await openConsole(db)
    const certificate = await insertCertificate(db, { id: "mc-1", commonName: "shop.example.com" })
    const base = { type: "RenewalFailure", certificateId: certificate.id, channel: "Webhook", recipient: "Webhook" }
    const now = stage.clock.now()
    await db.transaction(async (tx) => {
      await tx.insert(db.t.notifications).values([
        {
          ...base,
          id: "n-dead",
          message: "renewal failed",
          status: "dead",
          retryCount: 4,
          lastError: "503 from the hook",
          createdAt: now,
        },
        {
          ...base,
          id: "n-failed",
          message: "again",
          status: "failed",
          retryCount: 1,
          nextRetryAt: new Date(now.getTime() + 3_600_000),
          lastError: "timeout",
          createdAt: now,
        },
        { ...base, id: "n-sent", message: "all is well", status: "sent", sentAt: now, createdAt: now },
      ])
    })
    return stage
  }

  test("show why a message did not arrive, when it is tried again and what it is about", async () => {
    const { visitor } = await open()
    const { text } = await (await visitor("operator")).get("/notifications")
    for (const words of ["503 from the hook", "1 of 5 retries", "shop.example.com", "all is well"])
      expect(text).toContain(words)
    expect(text).toContain('href="/certificates/mc-1"')
    const dead = await (await visitor("admin")).get("/notifications?status=dead")
    expect(dead.text).toContain("503 from the hook")
    expect(dead.text).not.toContain("all is well")
  })

  test("send a dead one again, mark one as read, and come back to the list that was open", async () => {
    const { visitor, services } = await open()
    const operator = await visitor("operator")
    const sent = await operator.post("/notifications/n-dead/requeue", { back: "/notifications?status=dead" })
    expect(sent).toMatchObject({ status: 303, location: "/notifications?status=dead&notice=notification-requeued" })
    expect((await services.notifications.get("n-dead")).status).toBe("pending")
    await operator.post("/notifications/n-sent/read", { back: "/notifications" })
    expect((await services.notifications.get("n-sent")).status).toBe("read")
    expect((await operator.post("/notifications/n-none/read")).status).toBe(404)
  })

  test("send all dead ones again after a question", async () => {
    const { visitor, services } = await open()
    const operator = await visitor("operator")
    expect((await operator.get("/notifications/requeue-dead")).text).toContain("1 notification is tried again")
    await operator.post("/notifications/requeue-dead")
    expect((await services.notifications.get("n-dead")).status).toBe("pending")
    expect((await services.notifications.get("n-failed")).status).toBe("failed")
  })

  test("offer a viewer nothing and refuse what is sent regardless", async () => {
    const { visitor } = await open()
    const viewer = await visitor("viewer")
    const { status, text } = await viewer.get("/notifications")
    expect(status).toBe(200)
    expect(text).not.toContain("/requeue")
    expect(text).not.toContain("/read")
    for (const path of ["/notifications/n-dead/requeue", "/notifications/n-sent/read", "/notifications/requeue-dead"]) {
      expect((await viewer.post(path)).status).toBe(403)
    }
  })
})
