/** The ACME server from the environment. */
import { type EnvironmentReader, refuse } from "./environment"

export const acmeAuthModes = ["trust_authenticated", "challenge"] as const
export type AcmeAuthMode = (typeof acmeAuthModes)[number]

export interface AcmeServerSettings {
  /** Of profiles that do not say theirs. */
  readonly defaultAuthMode: AcmeAuthMode
  /** Whose directory stands at /acme/directory; null: nobody's. */
  readonly defaultProfileId: string | null
  readonly nonceTtlMs: number
  readonly orderTtlMs: number
  readonly authorizationTtlMs: number
  /** Validations at once. */
  readonly concurrency: { readonly http01: number; readonly dns01: number; readonly tlsAlpn01: number }
  /** `address:port`. */
  readonly dnsResolver: string
  readonly renewalInfo: boolean
  /** How often clients should ask for the renewal window. */
  readonly renewalInfoPollMs: number
  /** Each per account, challenge responses per challenge; 0: no limit. */
  readonly limits: {
    readonly ordersPerHour: number
    readonly openOrders: number
    readonly keyChangesPerHour: number
    readonly responsesPerHour: number
  }
  /** 0: never. */
  readonly cleanUpMs: number
  readonly termsOfServiceUrl: string | null
  readonly websiteUrl: string | null
  readonly caaIdentities: readonly string[]
  readonly externalAccountRequired: boolean
}

const readResolver = (read: EnvironmentReader): string => {
  const name = "CERTCTL_ACME_SERVER_DNS01_RESOLVER"
  const given = read.text(name)?.trim() ?? "8.8.8.8:53"
  const [, address, port] = /^(\d+(?:\.\d+){3}|\[[0-9A-Fa-f:]+\])(?::(\d{1,5}))?$/.exec(given) ?? []
  if (address === undefined || Number(port ?? 53) > 65_535) {
    return refuse(`${name} must be an IP address and a port, as in 8.8.8.8:53 or [2001:db8::1]:53`)
  }
  return `${address}:${port ?? 53}`
}

const readUrl = (read: EnvironmentReader, name: string): string | null => {
  const text = read.text(name)
  return text === null || /^https?:$/.test(URL.canParse(text) ? new URL(text).protocol : "")
    ? text
    : refuse(`${name} must be an http or https URL`)
}

/** null: the ACME server is off. */
export const readAcme = (read: EnvironmentReader, warn: (line: string) => void): AcmeServerSettings | null => {
  if (!read.bool("CERTCTL_ACME_SERVER_ENABLED", false)) return null
  const atOnce = (name: string) => read.int(name, 10, { min: 1 })
  const limit = (name: string, fallback: number) => read.int(name, fallback, { min: 0 })
  const settings: AcmeServerSettings = {
    defaultAuthMode: read.oneOf("CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE", acmeAuthModes, "trust_authenticated"),
    defaultProfileId: read.text("CERTCTL_ACME_SERVER_DEFAULT_PROFILE_ID"),
    nonceTtlMs: read.duration("CERTCTL_ACME_SERVER_NONCE_TTL", "5m", "1s"),
    orderTtlMs: read.duration("CERTCTL_ACME_SERVER_ORDER_TTL", "24h", "1m"),
    authorizationTtlMs: read.duration("CERTCTL_ACME_SERVER_AUTHZ_TTL", "24h", "1m"),
    concurrency: {
      http01: atOnce("CERTCTL_ACME_SERVER_HTTP01_CONCURRENCY"),
      dns01: atOnce("CERTCTL_ACME_SERVER_DNS01_CONCURRENCY"),
      tlsAlpn01: atOnce("CERTCTL_ACME_SERVER_TLSALPN01_CONCURRENCY"),
    },
    dnsResolver: readResolver(read),
    renewalInfo: read.bool("CERTCTL_ACME_SERVER_ARI_ENABLED", true),
    renewalInfoPollMs: read.duration("CERTCTL_ACME_SERVER_ARI_POLL_INTERVAL", "6h", "1m"),
    limits: {
      ordersPerHour: limit("CERTCTL_ACME_SERVER_RATE_LIMIT_ORDERS_PER_HOUR", 100),
      openOrders: limit("CERTCTL_ACME_SERVER_RATE_LIMIT_CONCURRENT_ORDERS", 5),
      keyChangesPerHour: limit("CERTCTL_ACME_SERVER_RATE_LIMIT_KEY_CHANGE_PER_HOUR", 5),
      responsesPerHour: limit("CERTCTL_ACME_SERVER_RATE_LIMIT_CHALLENGE_RESPONDS_PER_HOUR", 60),
    },
    cleanUpMs: read.duration("CERTCTL_ACME_SERVER_GC_INTERVAL", "1m", "0s"),
    termsOfServiceUrl: readUrl(read, "CERTCTL_ACME_SERVER_TOS_URL"),
    websiteUrl: readUrl(read, "CERTCTL_ACME_SERVER_WEBSITE"),
    caaIdentities: read.list("CERTCTL_ACME_SERVER_CAA_IDENTITIES"),
    externalAccountRequired: read.bool("CERTCTL_ACME_SERVER_EAB_REQUIRED", false),
  }
  if (settings.defaultAuthMode === "trust_authenticated" && !settings.externalAccountRequired) {
    warn(
      "the ACME server issues to whoever reaches it, for every name that a profile allows: set CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE=challenge or CERTCTL_ACME_SERVER_EAB_REQUIRED=true unless the network is trusted",
    )
  }
  return settings
}
