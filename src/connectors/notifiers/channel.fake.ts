/** Every channel with its fake behind it, in one shape: what tests of all channels, and of delivery over them, start from. */

import type { Channel, NotifierDeps } from "./contract"
import { opsgenieKey, startOpsgenie } from "./opsgenie.fake"
import { pagerdutyKey, startPagerduty } from "./pagerduty.fake"
import { slackPath, startSlack } from "./slack.fake"
import { smtpPassword, smtpUser, startSmtp } from "./smtp.fake"
import { startTeams, teamsPath } from "./teams.fake"
import type { VendorFake } from "./vendor.fake"
import { startWebhook, webhookPath, webhookSecret } from "./webhook.fake"

export type Trouble = "refused" | "busy" | "broken" | "hang" | "reset"

export interface FakeChannel {
  readonly config: Readonly<Record<string, unknown>>
  /** The same, with credentials that the vendor does not know. */
  readonly strangers: Readonly<Record<string, unknown>>
  /** Of both; no error may show them. */
  readonly secrets: { readonly own: readonly string[]; readonly strangers: readonly string[] }
  readonly deps: Pick<NotifierDeps, "fetch" | "ca" | "resolve">
  readonly delivered: () => number
  /** `refused`: 400; `busy`: asks for a wait of 7 s where the vendor can; `broken`: 500. */
  fail(trouble: Trouble, times?: number): void
  recover(): void
  stop(): Promise<void>
}

const overHttp = (
  fake: VendorFake,
  config: Record<string, unknown>,
  strangers: Record<string, unknown>,
  secrets: FakeChannel["secrets"],
): FakeChannel => ({
  config,
  strangers,
  secrets,
  deps: { fetch: fake.fetch, ca: fake.tls.ca, resolve: async () => ["127.0.0.1"] },
  delivered: () => fake.accepted.length,
  fail(trouble, times) {
    const echo = `you sent ${secrets.own.join(" ")}`
    if (trouble === "hang" || trouble === "reset") fake.fail({ kind: trouble }, times)
    else if (trouble === "busy") {
      fake.fail({ kind: "status", status: 429, headers: { "retry-after": "7" }, body: echo }, times)
    } else fake.fail({ kind: "status", status: trouble === "refused" ? 400 : 500, body: echo }, times)
  },
  recover: fake.recover,
  stop: fake.stop,
})

const overSmtp = async (): Promise<FakeChannel> => {
  const fake = await startSmtp()
  const config = {
    host: "localhost",
    port: fake.port,
    username: smtpUser,
    password: smtpPassword,
    from_address: "certctl@example.com",
  }
  return {
    config,
    strangers: { ...config, password: "a-wrong-password" },
    secrets: { own: [smtpPassword], strangers: ["a-wrong-password"] },
    deps: { fetch, ca: fake.tls.ca },
    delivered: () => fake.mails.length,
    fail(trouble, times) {
      const answers: Record<Trouble, string> = {
        refused: `550 5.7.1 refused, ${smtpPassword}`,
        busy: `451 4.7.1 greylisted, ${smtpPassword}`,
        broken: `554 5.3.0 broken, ${smtpPassword}`,
        hang: "hang",
        reset: "421 4.3.0 closing",
      }
      fake.fail(answers[trouble], times)
    },
    recover: fake.recover,
    stop: fake.stop,
  }
}

export const startChannel = async (channel: Channel): Promise<FakeChannel> => {
  if (channel === "Email") return overSmtp()
  if (channel === "Webhook") {
    const fake = await startWebhook()
    const url = `${fake.url.replace("localhost", "hooks.test")}${webhookPath}`
    const config = { url, secret: webhookSecret, allow_loopback: true }
    return overHttp(
      fake,
      config,
      { ...config, secret: "a-wrong-secret" },
      { own: [webhookSecret, webhookPath], strangers: ["a-wrong-secret", webhookPath] },
    )
  }
  if (channel === "Slack") {
    const fake = await startSlack()
    const wrong = "/services/T0FAKE/B0FAKE/another-token"
    return overHttp(
      fake,
      { webhook_url: `${fake.url}${slackPath}` },
      { webhook_url: `${fake.url}${wrong}` },
      { own: [slackPath], strangers: [wrong, "another-token"] },
    )
  }
  if (channel === "Teams") {
    const fake = await startTeams()
    const wrong = "/webhookb2/0000/IncomingWebhook/another-token/0000"
    return overHttp(
      fake,
      { webhook_url: `${fake.url}${teamsPath}` },
      { webhook_url: `${fake.url}${wrong}` },
      { own: [teamsPath], strangers: [wrong, "another-token"] },
    )
  }
  if (channel === "PagerDuty") {
    const fake = await startPagerduty()
    const wrong = "f".repeat(32)
    return overHttp(
      fake,
      { routing_key: pagerdutyKey, api_url: fake.url },
      { routing_key: wrong, api_url: fake.url },
      { own: [pagerdutyKey], strangers: [wrong] },
    )
  }
  const fake = await startOpsgenie()
  const wrong = "not-the-key-of-anybody"
  return overHttp(
    fake,
    { api_key: opsgenieKey, api_url: fake.url },
    { api_key: wrong, api_url: fake.url },
    { own: [opsgenieKey], strangers: [wrong] },
  )
}
