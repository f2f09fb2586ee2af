/**
 * Which notification channels there are, from the environment. A channel exists when its first variable is set; the keys are those
 * of the connector's own configuration, which checks the rest when it is opened.
 */
import { type EnvironmentReader, refuse } from "./environment"

/** Configuration of each channel's connector; secret. A channel that is not configured has no key. */
export type NotifierVariables = Readonly<Record<string, Readonly<Record<string, unknown>>>>

export interface DigestSettings {
  readonly enabled: boolean
  readonly intervalMs: number
  /** Empty: the owners of active certificates. */
  readonly recipients: readonly string[]
}

const webUrl = (read: EnvironmentReader, name: string): string | null => {
  const text = read.text(name)
  if (text === null) return null
  const url = URL.canParse(text) ? new URL(text) : null
  return url !== null && ["http:", "https:"].includes(url.protocol)
    ? text
    : refuse(`${name} must be an http or https URL`)
}

const withoutNulls = (config: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null))

const email = (read: EnvironmentReader, warn: (line: string) => void) => {
  const host = read.text("CERTCTL_SMTP_HOST")
  const from = read.text("CERTCTL_SMTP_FROM_ADDRESS")
  if (host === null && from === null) return null
  if (host === null || from === null) {
    const [present, missing] = host === null ? ["FROM_ADDRESS", "HOST"] : ["HOST", "FROM_ADDRESS"]
    // Half a pair is no mail at all, and nobody would notice before the first alert is due.
    warn(`CERTCTL_SMTP_${present} is set but CERTCTL_SMTP_${missing} is not: no mail is sent`)
    return null
  }
  return {
    host,
    port: read.int("CERTCTL_SMTP_PORT", 587, { min: 1, max: 65_535 }),
    username: read.text("CERTCTL_SMTP_USERNAME"),
    password: read.text("CERTCTL_SMTP_PASSWORD"),
    from_address: from,
    use_tls: read.bool("CERTCTL_SMTP_USE_TLS", true),
  }
}

const webhook = (read: EnvironmentReader) => {
  const url = webUrl(read, "CERTCTL_WEBHOOK_URL")
  return url === null
    ? null
    : {
        url,
        secret: read.text("CERTCTL_WEBHOOK_SECRET"),
        allow_loopback: read.bool("CERTCTL_WEBHOOK_ALLOW_LOOPBACK", false),
      }
}

const slack = (read: EnvironmentReader) => {
  const url = webUrl(read, "CERTCTL_SLACK_WEBHOOK_URL")
  return url === null
    ? null
    : {
        webhook_url: url,
        channel: read.text("CERTCTL_SLACK_CHANNEL"),
        username: read.text("CERTCTL_SLACK_USERNAME"),
        icon_emoji: read.text("CERTCTL_SLACK_ICON_EMOJI"),
      }
}

const teams = (read: EnvironmentReader) => {
  const url = webUrl(read, "CERTCTL_TEAMS_WEBHOOK_URL")
  return url === null ? null : { webhook_url: url }
}

const pagerduty = (read: EnvironmentReader) => {
  const key = read.text("CERTCTL_PAGERDUTY_ROUTING_KEY")
  const severity = read.oneOf("CERTCTL_PAGERDUTY_SEVERITY", ["critical", "error", "warning", "info"], "warning")
  return key === null ? null : { routing_key: key, severity, api_url: webUrl(read, "CERTCTL_PAGERDUTY_API_URL") }
}

const opsgenie = (read: EnvironmentReader) => {
  const key = read.text("CERTCTL_OPSGENIE_API_KEY")
  const priority = read.oneOf("CERTCTL_OPSGENIE_PRIORITY", ["P1", "P2", "P3", "P4", "P5"], "P3")
  return key === null ? null : { api_key: key, priority, api_url: webUrl(read, "CERTCTL_OPSGENIE_API_URL") }
}

export const readNotifiers = (read: EnvironmentReader, warn: (line: string) => void): NotifierVariables => {
  const found: Record<string, Record<string, unknown> | null> = {
    Email: email(read, warn),
    Webhook: webhook(read),
    Slack: slack(read),
    Teams: teams(read),
    PagerDuty: pagerduty(read),
    OpsGenie: opsgenie(read),
  }
  return Object.fromEntries(
    Object.entries(found).flatMap(([channel, config]) => (config === null ? [] : [[channel, withoutNulls(config)]])),
  )
}

export const readDigest = (read: EnvironmentReader): DigestSettings => ({
  enabled: read.bool("CERTCTL_DIGEST_ENABLED", false),
  intervalMs: read.duration("CERTCTL_DIGEST_INTERVAL", "24h", "1m"),
  recipients: read.list("CERTCTL_DIGEST_RECIPIENTS"),
})
