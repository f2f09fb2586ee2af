import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { certificateStore } from "../certificates/certificate.store"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { testClock } from "../testing/assembled-app"
import { onEachDialect, openBeside } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { decideAlert, expiryAlerts, tierOf } from "./expiry-alerts"
import { notificationService } from "./notification.service"
import { notificationStore } from "./notification.store"

const dayMs = 86_400_000

describe("the decision", () => {
  const usual = [30, 14, 7, 0]
  test.each<[daysLeft: number, sent: number[], send: number | null, covered: number[]]>([
    [31, [], null, []],
    [30, [], 30, []],
    [29.9, [30], null, []],
    [14.0001, [30], null, []],
    [14, [30], 14, []],
    [6, [], 7, [30, 14]],
    [6, [30], 7, [14]],
    [6, [7, 14, 30], null, []],
    [0.5, [7, 14, 30], null, []],
    [0, [7, 14, 30], 0, []],
    [-3, [], 0, [30, 14, 7]],
    [-3, [0], null, []],
  ])("%p days left, sent %p", (daysLeft, sent, send, covered) => {
    expect(decideAlert(daysLeft, usual, new Set(sent))).toEqual(send === null ? null : { send, covered })
  })

  test("a threshold added above one that was sent says nothing new", () => {
    expect(decideAlert(12, [30, 20, 14], new Set([14]))).toBeNull()
  })

  test("over a whole lifetime every threshold is dealt with once, in falling order, whenever it is looked at", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(365), { minLength: 1, maxLength: 8 }),
        fc.array(fc.double({ min: -5, max: 400, noNaN: true }), { maxLength: 20 }),
        (thresholds, looks) => {
          const sent: number[] = []
          const said: number[] = []
          for (const daysLeft of [...looks].sort((a, b) => b - a).concat(-1)) {
            const decision = decideAlert(daysLeft, thresholds, new Set(sent))
            if (decision === null) continue
            said.push(decision.send)
            sent.push(...decision.covered, decision.send)
          }
          expect(sent).toEqual([...thresholds].sort((a, b) => b - a))
          expect(said).toEqual([...said].sort((a, b) => b - a))
          expect(said.at(-1)).toBe(Math.min(...thresholds))
        },
      ),
    )
  })
})

test("thresholds have the tier of the policy, else their usual one, else the lowest", () => {
  expect([30, 14, 7, 0, 21].map((days) => tierOf(days, {}))).toEqual([
    "informational",
    "warning",
    "warning",
    "critical",
    "informational",
  ])
  expect(tierOf(21, { "21": "critical" })).toBe("critical")
  expect(tierOf(0, { "0": "nonsense" })).toBe("critical")
})

const setUp = (db: Db) => {
  const clock = testClock("2030-01-01T00:00:00.000Z")
  const parts = serviceParts(db)
  const store = notificationStore(db)
  const notifications = notificationService({ ...parts, clock, notifications: store })
  // A new one each time: what was sent must not be remembered in the process.
  const fresh = () =>
    expiryAlerts({
      notifications: store,
      notify: notifications.notify,
      audit: parts.audit,
      clock,
      publicUrl: "https://certctl.example",
    })
  const inDays = (days: number) => new Date(clock.now().getTime() + days * dayMs)
  const manual = { autoRenew: false, alertThresholdsDays: [30, 14, 7, 0] }
  const check = async (id: string, policy: Parameters<ReturnType<typeof expiryAlerts>["check"]>[2] = manual) => {
    const [certificate] = (await db.read.select().from(db.t.certificates)).filter((row) => row.id === id)
    if (certificate === undefined) throw new Error("no such certificate")
    await db.transaction((tx) => fresh().check(tx, certificate, policy))
  }
  const rows = () => db.read.select().from(db.t.notifications).orderBy(db.t.notifications.id)
  const said = async () =>
    (await rows()).map(
      ({ status, channel, message }) => `${status} ${channel} ${/\[threshold:\d+\]$/.exec(message)?.[0]}`,
    )
  const issue = (certificateId: string, createdAt: Date) =>
    db.transaction(async (tx) => {
      await tx.insert(db.t.certificateVersions).values({
        id: newId("cv-"),
        certificateId,
        serialNumber: "01",
        notBefore: createdAt,
        notAfter: inDays(90),
        fingerprintSha256: newId("f"),
        pemChain: "",
        createdAt,
      })
    })
  return { ...parts, clock, fresh, check, rows, said, inDays, manual, issue }
}

onEachDialect("expiry alerts", (openDb) => {
  test("are sent once per threshold, also across restarts, the lower ones in their turn", async () => {
    const db = await openDb()
    const { check, rows, said, inDays, clock, actionsOn } = setUp(db)
    await insertCertificate(db, { id: "mc-1", commonName: "shop.example", expiresAt: inDays(40) })
    await check("mc-1")
    expect(await rows()).toEqual([])
    clock.advance(27 * dayMs)
    await check("mc-1")
    await check("mc-1")
    expect(await said()).toEqual(["sent Email [threshold:30]", "pending Email [threshold:14]"])
    const [covered, sent] = await rows()
    expect(covered).toMatchObject({ error: "covered by the alert for 14 days", sentAt: null })
    expect(sent?.message).toBe(
      [
        "Certificate shop.example (mc-1) expires in 13 days, on 2030-02-10 00:00 UTC.",
        "Its policy does not renew by itself: start the renewal, or approve the one that waits.",
        "https://certctl.example/certificates/mc-1 [threshold:14]",
      ].join("\n"),
    )
    clock.advance(14 * dayMs)
    await check("mc-1")
    await check("mc-1")
    expect((await said()).slice(2)).toEqual(["sent Email [threshold:7]", "pending Email [threshold:0]"])
    expect((await rows()).at(-1)?.message).toContain("expired 24 hours ago")
    expect((await rows()).at(-1)?.message).toContain("[severity:critical]")
    expect(await actionsOn("mc-1")).toEqual(["expiration_alert_sent", "expiration_alert_sent"])
  })

  test("are written once, however many servers look at the same certificate at the same moment", async () => {
    const db = await openDb()
    const { said, inDays, manual } = setUp(db)
    await insertCertificate(db, { id: "mc-1", expiresAt: inDays(13) })
    const handles = [db, await openBeside(db)]
    const look = (handle: Db) =>
      handle.transaction(async (tx) => {
        const certificate = await certificateStore(handle).lock(tx, "mc-1")
        if (certificate !== null) await setUp(handle).fresh().check(tx, certificate, manual)
      })
    await Promise.all([...handles, ...handles, ...handles].map(look))
    expect(await said()).toEqual(["sent Email [threshold:30]", "pending Email [threshold:14]"])
  })

  test("begin anew with a new version", async () => {
    const db = await openDb()
    const { check, said, inDays, clock, issue } = setUp(db)
    await insertCertificate(db, { id: "mc-1", expiresAt: inDays(20) })
    await issue("mc-1", inDays(-70))
    await check("mc-1")
    clock.advance(1000)
    await issue("mc-1", clock.now())
    clock.advance(1000)
    await check("mc-1")
    await check("mc-1")
    expect(await said()).toEqual(["pending Email [threshold:30]", "pending Email [threshold:30]"])
  })

  test("say nothing of what renews in time, and speak up when it does not", async () => {
    const db = await openDb()
    const { check, rows, said, inDays, clock } = setUp(db)
    const policy = { autoRenew: true, alertThresholdsDays: [30, 14, 7, 0] }
    await insertCertificate(db, { id: "mc-47", expiresAt: inDays(15), renewAt: inDays(-0.5) })
    await insertCertificate(db, { id: "mc-6", expiresAt: inDays(2.9), renewAt: inDays(-0.1) })
    await check("mc-47", policy)
    await check("mc-6", policy)
    expect(await rows()).toEqual([])
    clock.advance(2 * dayMs)
    await check("mc-47", policy)
    await check("mc-6", policy)
    expect(await said()).toEqual(["pending Email [threshold:14]", "pending Email [threshold:1]"])
    expect((await rows())[0]?.message).toContain("It was to be renewed from 2029-12-31 12:00 UTC on, and was not")
  })

  test("go where the policy sends their tier, once per channel", async () => {
    const db = await openDb()
    const { check, said, inDays, clock, manual } = setUp(db)
    const policy = { ...manual, alertChannels: { critical: ["PagerDuty", "Email"], warning: ["Slack"] } }
    await insertCertificate(db, { id: "mc-1", expiresAt: inDays(10) })
    await check("mc-1", policy)
    await check("mc-1", policy)
    expect(await said()).toEqual(["pending Email [threshold:30]", "pending Slack [threshold:14]"])
    clock.advance(11 * dayMs)
    await check("mc-1", policy)
    await check("mc-1", policy)
    expect((await said()).slice(2).sort()).toEqual([
      "pending Email [threshold:0]",
      "pending PagerDuty [threshold:0]",
      "pending Slack [threshold:7]",
    ])
  })

  test("that go nowhere are in the audit trail, once", async () => {
    const db = await openDb()
    const { check, said, inDays, manual, actionsOn } = setUp(db)
    const policy = { ...manual, alertChannels: { informational: [], warning: ["Pigeon"] } }
    await insertCertificate(db, { id: "mc-1", expiresAt: inDays(10) })
    await check("mc-1", policy)
    await check("mc-1", policy)
    expect(await said()).toEqual([])
    expect((await actionsOn("mc-1")).sort()).toEqual([
      "expiration_alert_skipped_invalid_channel",
      "expiration_alert_skipped_no_channels",
    ])
  })

  test("are not sent for demo rows, nor for what has no expiry", async () => {
    const db = await openDb()
    const { check, rows, inDays } = setUp(db)
    await insertCertificate(db, { id: "mc-demo", expiresAt: inDays(-1), tags: { demo: "true" } })
    await insertCertificate(db, { id: "mc-new" })
    await check("mc-demo")
    await check("mc-new")
    expect(await rows()).toEqual([])
  })

  test("of what a client renews point to that client", async () => {
    const db = await openDb()
    const { check, rows, inDays } = setUp(db)
    await insertCertificate(db, { id: "mc-1", expiresAt: inDays(3), source: "SCEP" })
    await check("mc-1")
    expect((await rows()).at(-1)?.message).toContain("It came by SCEP, and its client renews it: look at that client.")
  })
})
