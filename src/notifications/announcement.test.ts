import { expect, test } from "bun:test"
import fc from "fast-check"
import type { Db, Tx } from "../db/db"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { type AnnouncementService, announcementService, silenceMs, voiceOf } from "./announcement.service"
import { severityOf } from "./message-tags"
import { spanWords } from "./messages"
import { notificationService } from "./notification.service"
import { notificationStore } from "./notification.store"

const dayMs = 86_400_000
const hourMs = 3_600_000
const now = new Date(Date.UTC(2030, 0, 1))
const from = (ms: number) => new Date(now.getTime() + ms)

test("a failed renewal gets louder and is repeated sooner the less time is left", () => {
  const ranks = { warning: 1, high: 2, critical: 3 }
  const lifetime = fc.integer({ min: hourMs, max: 400 * dayMs })
  fc.assert(
    fc.property(
      lifetime,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (window, a, b) => {
        const at = (share: number) => ({ expiresAt: from(window * share), renewAt: from(window * (share - 1)) })
        const [more, less] = [at(Math.max(a, b)), at(Math.min(a, b))]
        expect(ranks[voiceOf(less, now)]).toBeGreaterThanOrEqual(ranks[voiceOf(more, now)])
        if (less.expiresAt > now) expect(silenceMs(less, now)).toBeLessThanOrEqual(silenceMs(more, now))
      },
    ),
  )
  expect(voiceOf({ expiresAt: from(29 * dayMs), renewAt: from(-dayMs) }, now)).toBe("warning")
  expect(voiceOf({ expiresAt: from(14 * dayMs), renewAt: from(-16 * dayMs) }, now)).toBe("high")
  expect(voiceOf({ expiresAt: from(7 * dayMs), renewAt: from(-23 * dayMs) }, now)).toBe("critical")
  expect(voiceOf({ expiresAt: from(-dayMs), renewAt: from(-23 * dayMs) }, now)).toBe("critical")
  expect(voiceOf({ expiresAt: null, renewAt: null }, now)).toBe("high")
})

test("spans are told in one unit", () => {
  expect([90_000, hourMs, 3 * hourMs, 47 * hourMs, 2 * dayMs, -5 * dayMs, 10].map(spanWords)).toEqual([
    "1 minute",
    "60 minutes",
    "3 hours",
    "47 hours",
    "2 days",
    "5 days",
    "1 minute",
  ])
})

const setUp = (db: Db) => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  const parts = serviceParts(db)
  const store = notificationStore(db)
  const { notify } = notificationService({ ...parts, clock, notifications: store })
  const announcements = announcementService({ notifications: store, notify, clock, publicUrl: "https://c.example" })
  return {
    clock,
    announce: (run: (announcements: AnnouncementService, tx: Tx) => Promise<void>) =>
      db.transaction((tx) => run(announcements, tx)),
    rows: () => db.read.select().from(db.t.notifications).orderBy(db.t.notifications.id),
  }
}

onEachDialect("announcements", (openDb) => {
  test("tell each kind of news with what to do", async () => {
    const db = await openDb()
    const { announce, rows } = setUp(db)
    const dates = { expiresAt: from(90 * dayMs), renewAt: from(60 * dayMs) }
    await insertCertificate(db, { id: "mc-1", commonName: "shop.example", ...dates })
    await announce((say, tx) => say.renewalsSucceeded(tx, ["mc-1"]))
    await announce((say, tx) => say.deploymentSucceeded(tx, "mc-1", { targetName: "web-1" }))
    await announce((say, tx) => say.deploymentFailed(tx, "mc-1", { targetName: "web-2", reason: "nginx -t failed" }))
    await announce((say, tx) => say.revoked(tx, "mc-1", { reason: "keyCompromise", actor: "ada" }))
    const violation = { ruleName: "max 90 days", message: "lives 365 days" }
    for (const severity of ["Warning", "Error", "Critical"] as const) {
      await announce((say, tx) => say.policyViolated(tx, "mc-1", { ...violation, severity }))
    }
    const told = await rows()
    expect(told.map(({ type, channel, message }) => `${type} ${channel} ${severityOf(type, message)}`)).toEqual([
      "RenewalSuccess Email info",
      "DeploymentSuccess Email info",
      "DeploymentFailure Email high",
      "Revocation Webhook info",
      "Revocation Email info",
      "PolicyViolation Email high",
      "PolicyViolation Email critical",
    ])
    expect(told[0]?.message).toBe(
      "Certificate shop.example (mc-1) was renewed; it now expires in 90 days, on 2030-04-01 00:00 UTC.\nhttps://c.example/certificates/mc-1",
    )
    expect(told[2]?.message).toContain("could not be deployed to web-2")
    expect(told[2]?.message).toContain("Reason: nginx -t failed")
    expect(told[3]?.message).toContain("was revoked by ada; reason: keyCompromise.")
  })

  test("of failed renewals come once per voice, and again after a while", async () => {
    const db = await openDb()
    const { announce, rows, clock } = setUp(db)
    await insertCertificate(db, { id: "mc-1", expiresAt: from(28 * dayMs), renewAt: from(-2 * dayMs) })
    const fail = (reason = "HTTP 403 from the CA") => announce((say, tx) => say.renewalFailed(tx, "mc-1", { reason }))
    const voices = async () => (await rows()).map(({ type, message }) => severityOf(type, message))
    await fail()
    await fail()
    clock.advance(23 * hourMs)
    await fail()
    expect(await voices()).toEqual(["warning"])
    clock.advance(hourMs)
    await fail()
    expect(await voices()).toEqual(["warning", "warning"])
    clock.advance(13 * dayMs)
    await fail()
    clock.advance(8 * dayMs)
    await fail()
    await fail()
    expect(await voices()).toEqual(["warning", "warning", "high", "critical"])
    const messages = (await rows()).map(({ message }) => message)
    expect(messages[0]).toContain("could not be renewed; the one in use expires in 28 days")
    expect(messages[0]).toContain("Reason: HTTP 403 from the CA\nCheck the issuer's credentials and rights.")
    expect(messages[3]).toContain("Little time is left")
  })

  test("of failed renewals go where the policy sends their urgency", async () => {
    const db = await openDb()
    const { announce, rows } = setUp(db)
    await insertCertificate(db, { id: "mc-1", expiresAt: from(dayMs), renewAt: from(-29 * dayMs) })
    await db.transaction(async (tx) => {
      await tx.update(db.t.renewalPolicies).set({ alertChannels: { critical: ["PagerDuty", "Slack"] } })
    })
    await announce((say, tx) => say.renewalFailed(tx, "mc-1", { reason: "" }))
    expect((await rows()).map(({ channel }) => channel)).toEqual(["Slack", "PagerDuty"])
  })

  test("are not made for demo rows or unknown certificates", async () => {
    const db = await openDb()
    const { announce, rows } = setUp(db)
    await insertCertificate(db, { id: "mc-demo", tags: { demo: "true" } })
    for (const id of ["mc-demo", "mc-none"]) {
      await announce((say, tx) => say.renewalsSucceeded(tx, [id]))
      await announce((say, tx) => say.renewalFailed(tx, id, { reason: "x" }))
      await announce((say, tx) => say.revoked(tx, id, { reason: "unspecified", actor: "ada" }))
    }
    expect(await rows()).toEqual([])
  })
})
