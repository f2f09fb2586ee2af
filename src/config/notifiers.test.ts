import { expect, test } from "bun:test"
import { systemClock } from "../clock"
import { notifierDefinitions, openNotifiers } from "../connectors/notifiers/catalog"
import { environmentReader } from "./environment"
import { readDigest, readNotifiers } from "./notifiers"

const read = (env: Record<string, string>) => {
  const warnings: string[] = []
  const warn = (line: string) => void warnings.push(line)
  return { channels: readNotifiers(environmentReader(env, warn), warn), warnings }
}

const everything = {
  CERTCTL_SMTP_HOST: "mail.example.com",
  CERTCTL_SMTP_PORT: "465",
  CERTCTL_SMTP_USERNAME: "certctl",
  CERTCTL_SMTP_PASSWORD: "pw",
  CERTCTL_SMTP_FROM_ADDRESS: "pki@example.com",
  CERTCTL_WEBHOOK_URL: "https://hooks.example.com/x",
  CERTCTL_WEBHOOK_SECRET: "s",
  CERTCTL_SLACK_WEBHOOK_URL: "https://hooks.slack.com/services/x",
  CERTCTL_SLACK_CHANNEL: "#pki",
  CERTCTL_TEAMS_WEBHOOK_URL: "https://example.webhook.office.com/x",
  CERTCTL_PAGERDUTY_ROUTING_KEY: "k",
  CERTCTL_PAGERDUTY_SEVERITY: "error",
  CERTCTL_OPSGENIE_API_KEY: "k",
  CERTCTL_OPSGENIE_API_URL: "https://api.eu.opsgenie.com",
}

test("nothing is configured by default", () => {
  expect(read({})).toEqual({ channels: {}, warnings: [] })
  expect(readDigest(environmentReader({}, () => {}))).toEqual({
    enabled: false,
    intervalMs: 86_400_000,
    recipients: [],
  })
})

test("every channel can be configured, and its connector takes what was read", () => {
  const { channels, warnings } = read(everything)
  expect(warnings).toEqual([])
  expect(channels).toEqual({
    Email: {
      host: "mail.example.com",
      port: 465,
      username: "certctl",
      password: "pw",
      from_address: "pki@example.com",
      use_tls: true,
    },
    Webhook: { url: "https://hooks.example.com/x", secret: "s", allow_loopback: false },
    Slack: { webhook_url: "https://hooks.slack.com/services/x", channel: "#pki" },
    Teams: { webhook_url: "https://example.webhook.office.com/x" },
    PagerDuty: { routing_key: "k", severity: "error" },
    OpsGenie: { api_key: "k", priority: "P3", api_url: "https://api.eu.opsgenie.com" },
  })
  expect([...openNotifiers(channels, { fetch, clock: systemClock }).keys()]).toEqual(
    notifierDefinitions.map(({ type }) => type),
  )
})

test("half of what mail needs is no mail, and says so", () => {
  expect(read({ CERTCTL_SMTP_HOST: "mail.example.com" })).toEqual({
    channels: {},
    warnings: ["CERTCTL_SMTP_HOST is set but CERTCTL_SMTP_FROM_ADDRESS is not: no mail is sent"],
  })
})

test.each([
  ["CERTCTL_PAGERDUTY_SEVERITY", "high", "CERTCTL_PAGERDUTY_SEVERITY must be one of critical, error, warning, info"],
  ["CERTCTL_OPSGENIE_PRIORITY", "P0", "CERTCTL_OPSGENIE_PRIORITY must be one of P1, P2, P3, P4, P5"],
  ["CERTCTL_SMTP_PORT", "0", "CERTCTL_SMTP_PORT must be between 1 and 65535"],
  ["CERTCTL_SLACK_WEBHOOK_URL", "hooks.slack.com/secret", "CERTCTL_SLACK_WEBHOOK_URL must be an http or https URL"],
])("%s=%s is refused", (name, value, message) => {
  expect(() => read({ ...everything, [name]: value })).toThrow(message)
})
