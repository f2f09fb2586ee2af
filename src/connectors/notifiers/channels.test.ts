/** What each channel sends, as its vendor receives it. */
import { afterEach, describe, expect, test } from "bun:test"
import { createHmac } from "node:crypto"
import { systemClock } from "../../clock"
import type { Notice, Notifier } from "./contract"
import { retryAfterSeconds } from "./delivery.request"
import { opsgenie } from "./opsgenie"
import { opsgenieKey, startOpsgenie } from "./opsgenie.fake"
import { pagerduty } from "./pagerduty"
import { pagerdutyKey, startPagerduty } from "./pagerduty.fake"
import { slack } from "./slack"
import { slackPath, startSlack } from "./slack.fake"
import { smtp, tlsModeOf } from "./smtp"
import { type SmtpOptions, smtpPassword, smtpUser, startSmtp } from "./smtp.fake"
import { teams } from "./teams"
import { startTeams, teamsPath } from "./teams.fake"
import { webhook } from "./webhook"
import { startWebhook, webhookPath, webhookSecret } from "./webhook.fake"

const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})
const started = async <F extends { stop(): Promise<void> }>(fake: Promise<F>): Promise<F> => {
  const running = await fake
  stops.push(running.stop)
  return running
}

const now = new Date(Date.UTC(2030, 0, 2, 3, 4, 5))
const clock = { now: () => now }
const alert: Notice = {
  id: "notif-1",
  kind: "alert",
  type: "ExpirationWarning",
  severity: "critical",
  subject: "ExpirationWarning: www.example.com",
  body: "It ends <soon> & *hard*.\nRenew it.",
  recipient: "ada@example.com",
  certificateId: "mc-1",
  createdAt: now,
}
const event: Notice = { ...alert, kind: "event", type: "RenewalSuccess", severity: "info" }

test("Slack gets bold subject and body, in which nothing is a mention", async () => {
  const fake = await started(startSlack())
  const config = { webhook_url: `${fake.url}${slackPath}`, channel: "#pki" }
  await slack.open(config, { fetch: fake.fetch, clock }).send({ ...alert, body: "<!channel> & more" })
  expect(fake.accepted[0]?.json).toEqual({
    text: "*ExpirationWarning: www.example.com*\n&lt;!channel&gt; &amp; more",
    channel: "#pki",
    username: "certctl",
  })
  await slack.open(config, { fetch: fake.fetch, clock }).send({ ...alert, body: "x".repeat(50_000) })
  expect(fake.accepted[1]?.json.text).toHaveLength(40_000)
})

test("Teams gets a MessageCard whose text stays text", async () => {
  const fake = await started(startTeams())
  await teams.open({ webhook_url: `${fake.url}${teamsPath}` }, { fetch: fake.fetch, clock }).send(alert)
  expect(fake.accepted[0]?.json).toEqual({
    "@type": "MessageCard",
    "@context": "https://schema.org/extensions",
    themeColor: "0076D7",
    summary: "ExpirationWarning: www.example.com",
    sections: [
      {
        activityTitle: "ExpirationWarning: www.example.com",
        text: "It ends &lt;soon> &amp; \\*hard\\*.  \nRenew it.",
        markdown: true,
      },
    ],
  })
})

test("PagerDuty gets one incident for all attempts of a notice, as urgent as it is", async () => {
  const fake = await started(startPagerduty())
  const notifier = pagerduty.open({ routing_key: pagerdutyKey, api_url: fake.url }, { fetch: fake.fetch, clock })
  await notifier.send(alert)
  await notifier.send(alert)
  await notifier.send({ ...alert, id: "notif-2", severity: "high", subject: "x".repeat(2000) })
  await notifier.send({ ...event, id: "notif-3" })
  expect([...fake.incidents]).toEqual([
    ["notif-1", "critical"],
    ["notif-2", "error"],
    ["notif-3", "warning"],
  ])
  expect(fake.accepted[0]?.json.payload).toEqual({
    summary: alert.subject,
    severity: "critical",
    source: "certctl",
    custom_details: { body: alert.body, recipient: alert.recipient },
  })
})

test("Opsgenie gets one alert for all attempts of a notice, within its limits", async () => {
  const fake = await started(startOpsgenie())
  const config = { api_key: opsgenieKey, api_url: `${fake.url}/`, priority: "P4" }
  const notifier = opsgenie.open(config, { fetch: fake.fetch, clock })
  await notifier.send(alert)
  await notifier.send(alert)
  await notifier.send({ ...event, id: "notif-2", subject: "x".repeat(200), body: "y".repeat(20_000) })
  expect([...fake.alerts]).toEqual([
    ["notif-1", 2],
    ["notif-2", 1],
  ])
  expect(fake.accepted[0]?.json).toEqual({
    message: alert.subject,
    description: alert.body,
    priority: "P1",
    source: "certctl",
    tags: ["certctl", "ExpirationWarning"],
    alias: "notif-1",
  })
  expect(fake.accepted[2]?.json.priority).toBe("P4")
})

describe("the webhook", () => {
  const open = async (more: Record<string, unknown> = {}) => {
    const fake = await started(startWebhook())
    const config = { url: `${fake.url}${webhookPath}`, secret: webhookSecret, allow_loopback: true, ...more }
    return { fake, notifier: webhook.open(config, { fetch, clock, ca: fake.tls.ca }) }
  }

  test("signs what it sends", async () => {
    const { fake, notifier } = await open()
    await notifier.send(alert)
    await notifier.send(event)
    const [first, second] = fake.accepted
    const common = {
      event_id: "notif-1",
      certificate_id: "mc-1",
      subject: alert.subject,
      body: alert.body,
      recipient: alert.recipient,
      created_at: "2030-01-02T03:04:05.000Z",
    }
    expect(first?.json).toEqual({
      ...common,
      type: "alert",
      event_type: "ExpirationWarning",
      alert_id: "notif-1",
      severity: "critical",
      message: alert.body,
      metadata: { severity: "critical" },
    })
    expect(second?.json).toEqual({
      ...common,
      type: "event",
      event_type: "RenewalSuccess",
      metadata: { severity: "info" },
    })
    const wanted = createHmac("sha256", webhookSecret)
      .update(first?.text ?? "")
      .digest("hex")
    expect(first?.headers.get("x-signature")).toBe(`sha256=${wanted}`)
    expect(first?.headers.get("user-agent")).toBe("certctl-notifier/1.0")
  })

  test("sends no signature without a secret", async () => {
    const { fake, notifier } = await open({ secret: undefined })
    await expect(notifier.send(alert)).rejects.toThrow(/^auth: HTTP 401/)
    expect(fake.requests[0]?.headers.has("x-signature")).toBe(false)
  })

  test("reaches nothing on its own host, and follows no redirect", async () => {
    const { fake, notifier } = await open({ allow_loopback: false })
    await expect(notifier.send(alert)).rejects.toThrow(/^validation: localhost must not be asked/)
    expect(fake.requests).toEqual([])
    const { fake: moved, notifier: follower } = await open()
    moved.fail({ kind: "status", status: 302, headers: { location: `${moved.url}/elsewhere` } }, 1)
    await expect(follower.send(alert)).rejects.toThrow(/^other: HTTP 302/)
    expect(moved.requests.map(({ path }) => path)).toEqual([webhookPath])
  })
})

describe("e-mail", () => {
  const open = async (options: SmtpOptions = {}, more: Record<string, unknown> = {}) => {
    const fake = await started(startSmtp(options))
    const config = {
      host: "localhost",
      port: fake.port,
      username: smtpUser,
      password: smtpPassword,
      from_address: "pki@example.com",
      ...more,
    }
    return { fake, notifier: smtp.open(config, { fetch, clock, ca: fake.tls.ca }) }
  }
  const anonymous = { username: "", password: "" }

  test("goes over STARTTLS, signed in with PLAIN, with the headers that mail needs", async () => {
    const { fake, notifier } = await open()
    await notifier.send({ ...alert, subject: "Zertifikat läuft ab", body: "eins\n.zwei\u0007\r\ndrei" })
    const [mail] = fake.mails
    expect(mail).toMatchObject({ from: "pki@example.com", to: "ada@example.com", encrypted: true })
    const text = mail?.text ?? ""
    expect(text).toContain("From: pki@example.com\r\nTo: ada@example.com\r\n")
    expect(text).toMatch(/Subject: =\?UTF-8\?Q\?=5BCRITICAL=5D_Zertifikat_l=C3=A4uft_ab\?=/)
    expect(text).toContain("Date: Wed, 02 Jan 2030 03:04:05 +0000")
    expect(text).toContain("Message-ID: <notif-1@example.com>")
    expect(text).toContain("MIME-Version: 1.0")
    expect(text).toContain("Content-Type: text/plain; charset=utf-8")
    expect(text).toEndWith("eins\r\n.zwei\r\ndrei")
    expect(fake.commands.filter((line) => /^(STARTTLS|AUTH)/.test(line))[0]).toBe("STARTTLS")
    expect(fake.commands.some((line) => line.startsWith("AUTH PLAIN "))).toBe(true)
  })

  test("carries events, HTML beside the text, and the digest's own subject", async () => {
    const { fake, notifier } = await open()
    await notifier.send(event)
    await notifier.send({ ...event, type: "Digest", subject: "certctl Certificate Digest", html: "<p>hello</p>" })
    expect(fake.mails[0]?.text).toContain("Subject: [Event] ExpirationWarning: www.example.com")
    expect(fake.mails[1]?.text).toContain("Subject: certctl Certificate Digest\r\n")
    expect(fake.mails[1]?.text).toContain("text/html")
    expect(fake.mails[1]?.text).toContain("<p>hello</p>")
  })

  test("signs in with LOGIN where PLAIN is not offered", async () => {
    const { fake, notifier } = await open({ mechanisms: ["LOGIN"] })
    await notifier.send(alert)
    expect(fake.mails).toHaveLength(1)
  })

  test("speaks TLS from the first byte on port 465 only", async () => {
    expect(tlsModeOf(465, true)).toEqual({ secure: true, requireTLS: false, ignoreTLS: false })
    expect(tlsModeOf(587, true)).toEqual({ secure: false, requireTLS: true, ignoreTLS: false })
    expect(tlsModeOf(465, false)).toEqual({ secure: false, requireTLS: false, ignoreTLS: true })
    const fake = await started(startSmtp())
    const config = { host: "localhost", port: fake.tlsPort, from_address: "pki@example.com" }
    // Not port 465, so that the client waits for a greeting in the clear.
    const notifier = smtp.open(config, { fetch, clock, ca: fake.tls.ca, timeoutMs: 150 })
    await expect(notifier.send(alert)).rejects.toThrow(/^timeout: /)
  })

  test("tells what the server said in one line", async () => {
    const { fake, notifier } = await open()
    fake.fail("550-5.7.1 first\r\n550 5.7.1 second", 1)
    await expect(notifier.send(alert)).rejects.toThrow(/^upstream_5xx: [^\n]*first[^\n]*second \(permanent\)$/)
  })

  test("is not sent where the server offers no TLS", async () => {
    const { fake, notifier } = await open({ starttls: false })
    await expect(notifier.send(alert)).rejects.toThrow(/^(network|upstream_5xx): /)
    expect(fake.commands.some((line) => line.startsWith("AUTH") || line.startsWith("MAIL"))).toBe(false)
  })

  test("is not sent to a server whose certificate nobody vouches for", async () => {
    const { fake } = await open()
    const config = { host: "localhost", port: fake.port, from_address: "pki@example.com" }
    await expect(smtp.open(config, { fetch, clock }).send(alert)).rejects.toThrow(/^network: .*certificate/)
    expect(fake.mails).toEqual([])
  })

  test("goes in the clear where TLS is off, and the password only to this host", async () => {
    const { fake, notifier } = await open({ starttls: false }, { use_tls: false })
    await notifier.send(alert)
    expect(fake.mails[0]?.encrypted).toBe(false)
    const remote = { host: "mail.example.com", from_address: "pki@example.com", use_tls: false }
    const deps = { fetch, clock }
    expect(() => smtp.open({ ...remote, username: "u", password: "p" }, deps)).toThrow(/^use_tls must be true where/)
    expect(() => smtp.open(remote, deps)).not.toThrow()
  })

  test.each<[string, Partial<Notice>]>([
    ["recipient", { recipient: "ada@example.com\r\nBcc: eve@example.com" }],
    ["recipient", { recipient: "ada@example.com\0" }],
    ["subject", { subject: "hello\r\nBcc: eve@example.com" }],
    ["id", { id: "x\r\nBcc: eve@example.com" }],
    ["recipient", { recipient: "ada@example.com,eve@example.com" }],
    ["recipient", { recipient: "Ada <ada@example.com>" }],
    ["recipient", { recipient: "o-1" }],
    ["recipient", { recipient: "" }],
  ])("is refused before connecting when the %s would change a header: %p", async (_field, change) => {
    const { fake, notifier } = await open({ auth: false }, anonymous)
    await expect(notifier.send({ ...alert, ...change })).rejects.toThrow(/^validation: /)
    expect(fake.commands).toEqual([])
  })

  test.each(["pki", "pki@example.com\nBcc: x@y.z", "PKI <pki@example.com>"])("is not sent from %p", (from_address) => {
    expect(() => smtp.open({ host: "h", from_address }, { fetch, clock })).toThrow(
      "from_address must be an e-mail address",
    )
  })

  test("tells failures that pass from those that stay", async () => {
    const { fake, notifier } = await open()
    fake.fail("451 4.7.1 try again", 1)
    await expect(notifier.send(alert)).rejects.toThrow(/^upstream_4xx: .*\(transient\)$/)
    await expect(notifier.send({ ...alert, recipient: "ada@elsewhere.test" })).rejects.toThrow(
      /^upstream_5xx: .*\(permanent\)$/,
    )
  })
})

test("a Retry-After is seconds or a date", () => {
  expect(retryAfterSeconds("17", now)).toBe(17)
  expect(retryAfterSeconds("Wed, 02 Jan 2030 03:05:05 GMT", now)).toBe(60)
  expect(retryAfterSeconds("Tue, 01 Jan 2030 03:05:05 GMT", now)).toBe(0)
  expect(retryAfterSeconds("soon", now)).toBeUndefined()
  expect(retryAfterSeconds(null, now)).toBeUndefined()
})

test("the check of a connection delivers nothing", async () => {
  const fake = await started(startSmtp())
  const base = { host: "localhost", port: fake.port, from_address: "pki@example.com" }
  const check = (more: object): Promise<void> =>
    (smtp.open({ ...base, ...more }, { fetch, clock: systemClock, ca: fake.tls.ca }) as Notifier).testConnection()
  await check({ username: smtpUser, password: smtpPassword })
  await expect(check({ username: smtpUser, password: "no" })).rejects.toThrow(/^auth: /)
  expect(fake.mails).toEqual([])
})
