import { afterEach, describe, expect, test } from "bun:test"
import { Hono } from "hono"
import { smtp } from "../connectors/notifiers/smtp"
import { startSmtp } from "../connectors/notifiers/smtp.fake"
import type { Db } from "../db/db"
import type { ApiEnv } from "../server/operation"
import { attentionStore } from "../stats/attention.store"
import { statsService } from "../stats/stats.service"
import { statsStore } from "../stats/stats.store"
import { testApi } from "../testing/api"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { resourceApi } from "../testing/resource-api"
import { insertAgent, insertCertificate, insertJob, insertTarget, mapTarget } from "../testing/rows"
import { type DigestFacts, digestHtml, digestSubject, digestText } from "./digest.content"
import { digestRoutes } from "./digest.routes"
import { digestService } from "./digest.service"
import { digestStore } from "./digest.store"

const dayMs = 86_400_000
const now = new Date(Date.UTC(2030, 0, 1, 12))
const from = (days: number) => new Date(now.getTime() + days * dayMs)

const facts: DigestFacts = {
  now,
  publicUrl: "https://certctl.example",
  totalCertificates: 7,
  expiringCertificates: 3,
  expiredCertificates: 1,
  activeAgents: 2,
  pendingJobs: 4,
  failedJobs: 5,
  completeJobs: 6,
  byStatus: [{ status: "Active", count: 7 }],
  silentAgents: {
    rows: [
      {
        agentId: "agent-1",
        name: "web <1>",
        lastHeartbeatAt: from(-1),
        certificates: 3,
        firstExpiresAt: from(5),
      },
      { agentId: "agent-2", name: "mail", lastHeartbeatAt: null, certificates: 1, firstExpiresAt: null },
    ],
    total: 5,
  },
  expiring: [
    { id: "mc-1", commonName: "<script>alert(1)</script>", ownerName: 'Ada "&" Co', expiresAt: from(7.5) },
    { id: "mc-2", commonName: "b.example", ownerName: "Bob", expiresAt: from(14) },
    { id: "mc-3", commonName: "c.example", ownerName: "Bob", expiresAt: from(29) },
  ],
  failures: [
    { id: "job-1", type: "Renewal", commonName: "b.example", lastError: "line <one>\nline two", completedAt: from(-1) },
  ],
}

describe("the digest's text", () => {
  test("shows every number in both forms", () => {
    expect(digestSubject(now)).toBe("certctl Certificate Digest — 2030-01-01")
    expect(digestText(facts)).toBe(`Certificate digest, 2030-01-01

7 certificates, 3 expire within 30 days, 1 expired
2 active agents
Jobs: 4 pending, 5 failed, 6 completed

Agents that went silent:
- web <1> (agent-1), last heard of: 2029-12-31 12:00 UTC; serves 3 certificates, the first lapses on 2030-01-06
- mail (agent-2), last heard of: never; serves 1 certificate
and 3 more agents

Active: 7

Expiring within 30 days:
- 2030-01-09 (7 days): <script>alert(1)</script> (mc-1), Ada "&" Co
- 2030-01-15 (14 days): b.example (mc-2), Bob
- 2030-01-30 (29 days): c.example (mc-3), Bob

Jobs that failed lately:
- 2029-12-31 Renewal of b.example: line <one> line two

Sent by certctl, https://certctl.example`)
    const html = digestHtml(facts)
    for (const part of [
      "Certificate digest, 2030-01-01",
      "4 pending, 5 failed, 6 completed",
      ">7 days<",
      ">14 days<",
    ]) {
      expect(html).toContain(part)
    }
    expect(html.indexOf("#b42318")).toBeLessThan(html.indexOf("#93500a"))
    expect(html.indexOf("#93500a")).toBeLessThan(html.indexOf("#1a7f37"))
  })

  test("escapes every value, and fetches nothing from elsewhere", () => {
    const html = digestHtml(facts)
    expect(html).not.toContain("<script")
    expect(html).toContain("&lt;script&gt;alert(1)&lt;/script&gt;")
    expect(html).toContain("Ada &quot;&amp;&quot; Co")
    expect(html).toContain("line &lt;one&gt; line two")
    expect(html).not.toMatch(/<(img|link|style|iframe)|src=|url\(/i)
  })

  test("says so when nothing expires", () => {
    expect(digestHtml({ ...facts, expiring: [], failures: [] })).toContain("Nothing expires within 30 days.")
    expect(digestText({ ...facts, expiring: [], failures: [] })).toContain("Nothing expires within 30 days.")
  })
})

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

const setUp = async (db: Db, settings: { enabled?: boolean; recipients?: string[]; hasMail?: boolean } = {}) => {
  const clock = testClock(now.toISOString())
  const fake = await startSmtp({ auth: false })
  stops.push(fake.stop)
  const config = { host: "localhost", port: fake.port, from_address: "pki@example.com" }
  const errors: string[] = []
  const digest = digestService({
    db,
    digests: digestStore(db),
    stats: statsService({ stats: statsStore(db), attention: attentionStore(db), clock, needsAgent: true }),
    mail: settings.hasMail === false ? null : smtp.open(config, { fetch, clock, ca: fake.tls.ca }),
    settings: { enabled: settings.enabled ?? true, intervalMs: dayMs, recipients: settings.recipients ?? [] },
    clock,
    publicUrl: "https://certctl.example",
    onRecipientError: (recipient) => errors.push(recipient),
  })
  return { clock, fake, digest, errors, send: resourceApi("digest", digestRoutes(digest)) }
}

onEachDialect("the digest", (openDb) => {
  test("goes to the owners of what is in use, each once, as HTML and text", async () => {
    const db = await openDb()
    const { send, fake, digest } = await setUp(db)
    await insertCertificate(db, { id: "mc-1", commonName: "a.example", status: "Active", expiresAt: from(5) })
    await insertCertificate(db, { id: "mc-2", status: "Expiring", expiresAt: from(3), commonName: "b.example" })
    await insertCertificate(db, {
      id: "mc-demo",
      expiresAt: from(3),
      commonName: "demo.example",
      tags: { demo: "true" },
    })
    await insertJob(db, {
      type: "Renewal",
      status: "Failed",
      certificateId: "mc-1",
      completedAt: from(-1),
      lastError: "no",
    })
    await insertAgent(db, { id: "agent-gone", name: "old-host", lastHeartbeatAt: from(-2) })
    await mapTarget(db, "mc-1", (await insertTarget(db, { agentId: "agent-gone" })).id)
    const stamps = { createdAt: now, updatedAt: now }
    await db.transaction(async (tx) => {
      await tx.update(db.t.owners).set({ email: "ada@example.com" })
      await tx.insert(db.t.owners).values({ id: "o-2", name: "idle", email: "idle@example.com", ...stamps })
    })
    expect(await send("POST", "/send")).toEqual({ status: 200, body: { status: "sent", sent: 1, failed: 0 } })
    expect(fake.mails.map(({ to }) => to)).toEqual(["ada@example.com"])
    expect(fake.mails[0]?.text).toContain("Content-Type: text/html")
    expect(fake.mails[0]?.text).toContain("Content-Type: text/plain")
    const page = await testApi(new Hono<ApiEnv>().route("/digest", digestRoutes(digest))).request(
      "/api/v1/digest/preview",
    )
    expect([page.status, page.headers.get("content-type")?.toLowerCase()]).toEqual([200, "text/html; charset=utf-8"])
    const html = await page.text()
    expect(html.indexOf("b.example")).toBeLessThan(html.indexOf("a.example"))
    expect(html).toContain("Renewal")
    expect(html).not.toContain("demo.example")
    expect(html).toMatch(/Agents that went silent.*old-host.*2029-12-30 12:00 UTC.*1 certificate.*2030-01-06/s)
    // A mail has inline styles, which no page of ours has: this one answer may use them, and nothing else.
    const policy = page.headers.get("content-security-policy")?.split("; ")
    expect(policy).toEqual(expect.arrayContaining(["default-src 'none'", "style-src 'unsafe-inline'"]))
    expect(policy?.some((rule) => rule.startsWith("sandbox") && !rule.includes("allow-scripts"))).toBe(true)
    expect(policy?.filter((rule) => rule.startsWith("script-src"))).toEqual([])
  })

  test("counts those it did not reach, and fails when it reached nobody", async () => {
    const db = await openDb()
    const { send, fake, errors } = await setUp(db, {
      recipients: ["a@example.com", "b@elsewhere.test", "c@example.com"],
    })
    expect((await send("POST", "/send")).body).toEqual({ status: "sent", sent: 2, failed: 1 })
    expect(errors).toEqual(["b@elsewhere.test"])
    fake.fail("451 4.7.1 later")
    expect((await send("POST", "/send")).status).toBe(500)
  })

  test("answers 503 while it is off, without mail, and without anybody to send it to", async () => {
    const db = await openDb()
    const off = await setUp(db, { enabled: false })
    expect((await off.send("POST", "/send")).status).toBe(503)
    expect((await off.send("GET", "/preview")).status).toBe(503)
    const mute = await setUp(db, { hasMail: false })
    expect((await mute.send("GET", "/preview")).body.message).toContain("CERTCTL_SMTP_HOST")
    expect((await mute.send("POST", "/send")).status).toBe(503)
    const lonely = await setUp(db)
    expect((await lonely.send("POST", "/send")).body.message).toContain("CERTCTL_DIGEST_RECIPIENTS")
  })

  test("comes once per interval, over restarts too, and is tried again when it reached nobody", async () => {
    const db = await openDb()
    const first = await setUp(db, { recipients: ["a@example.com"] })
    const second = await setUp(db, { recipients: ["a@example.com"] })
    const pass = async () => [await first.digest.sendWhenDue(), await second.digest.sendWhenDue()]
    expect(await pass()).toEqual([null, null])
    first.clock.advance(dayMs)
    second.clock.advance(dayMs)
    first.fake.fail("451 4.7.1 later")
    await expect(first.digest.sendWhenDue()).rejects.toThrow("reached nobody")
    first.fake.recover()
    expect(await pass()).toEqual([{ sent: 1, failed: 0 }, null])
    expect(first.fake.mails.length + second.fake.mails.length).toBe(1)
  })
})
