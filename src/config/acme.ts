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

const prefix = "CERTCTL_ACME_SERVER_"

const readResolver = (read: EnvironmentReader): string => {
  const name = `${prefix}DNS01_RESOLVER`
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
  if (!read.bool(`${prefix}ENABLED`, false)) return null
  const atOnce = (name: string) => read.int(`${prefix}${name}`, 10, { min: 1 })
  const limit = (name: string, fallback: number) => read.int(`${prefix}RATE_LIMIT_${name}`, fallback, { min: 0 })
  const settings: AcmeServerSettings = {
    defaultAuthMode: read.oneOf(`${prefix}DEFAULT_AUTH_MODE`, acmeAuthModes, "trust_authenticated"),
    defaultProfileId: read.text(`${prefix}DEFAULT_PROFILE_ID`),
    nonceTtlMs: read.duration(`${prefix}NONCE_TTL`, "5m", "1s"),
    orderTtlMs: read.duration(`${prefix}ORDER_TTL`, "24h", "1m"),
    authorizationTtlMs: read.duration(`${prefix}AUTHZ_TTL`, "24h", "1m"),
    concurrency: {
      http01: atOnce("HTTP01_CONCURRENCY"),
      dns01: atOnce("DNS01_CONCURRENCY"),
      tlsAlpn01: atOnce("TLSALPN01_CONCURRENCY"),
    },
    dnsResolver: readResolver(read),
    renewalInfo: read.bool(`${prefix}ARI_ENABLED`, true),
    renewalInfoPollMs: read.duration(`${prefix}ARI_POLL_INTERVAL`, "6h", "1m"),
    limits: {
      ordersPerHour: limit("ORDERS_PER_HOUR", 100),
      openOrders: limit("CONCURRENT_ORDERS", 5),
      keyChangesPerHour: limit("KEY_CHANGE_PER_HOUR", 5),
      responsesPerHour: limit("CHALLENGE_RESPONDS_PER_HOUR", 60),
    },
    cleanUpMs: read.duration(`${prefix}GC_INTERVAL`, "1m", "0s"),
    termsOfServiceUrl: readUrl(read, `${prefix}TOS_URL`),
    websiteUrl: readUrl(read, `${prefix}WEBSITE`),
    caaIdentities: read.list(`${prefix}CAA_IDENTITIES`),
    externalAccountRequired: read.bool(`${prefix}EAB_REQUIRED`, false),
  }
  if (settings.defaultAuthMode === "trust_authenticated" && !settings.externalAccountRequired) {
    warn(
      `the ACME server issues to whoever reaches it, for every name that a profile allows: set ${prefix}DEFAULT_AUTH_MODE=challenge or ${prefix}EAB_REQUIRED=true unless the network is trusted`,
    )
  }
  return settings
}
