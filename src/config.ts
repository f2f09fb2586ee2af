/**
 * Every setting of the control plane: CERTCTL_* variables, read once into a typed, frozen value. What cannot be meant is refused
 * with one line that names the variable; values are never repeated in it, since any of them may be a secret.
 */
import { BlockList, isIP } from "node:net"
import { homedir, hostname } from "node:os"
import { join, resolve } from "node:path"
import { type AcmeServerSettings, readAcme } from "./config/acme"
import { type ConfiguredKey, readApiKeys } from "./config/api-keys"
import { type Env, type EnvironmentReader, environmentReader, refuse } from "./config/environment"
import { type EstProfileSettings, readEst } from "./config/est"
import { type DigestSettings, type NotifierVariables, readDigest, readNotifiers } from "./config/notifiers"
import { readScep, type ScepSettings } from "./config/scep"
import { dataDirectoryOf } from "./data-directory"

const logLevels = ["debug", "info", "warn", "error"] as const
const logFormats = ["json", "text"] as const
const keygenModes = ["agent", "server"] as const
const authorityKeyTypes = [
  "ecdsa-p256",
  "ecdsa-p384",
  "ecdsa-p521",
  "rsa-2048",
  "rsa-3072",
  "rsa-4096",
  "ed25519",
] as const

/** The shortest CERTCTL_CONFIG_ENCRYPTION_KEY, in bytes. */
const shortestPassphrase = 32

export interface Config {
  /** Absolute. */
  readonly dataDir: string
  /** The only folder that `file:` references read. */
  readonly secretsDir: string
  readonly server: {
    readonly host: string
    readonly port: number
    /** Base of links and commands, without a trailing slash. */
    readonly publicUrl: string
    readonly maxBodyBytes: number
    /** Addresses and CIDRs whose X-Forwarded-For and Client-Cert (RFC 9440) count. */
    readonly trustedProxies: readonly string[]
    /** Budget for the graceful HTTP stop and for draining queued audit writes, together. */
    readonly auditFlushMs: number
  }
  readonly tls: TlsSettings
  readonly pki: {
    /** Base of the AIA and CRL distribution point URLs; null leaves them out. */
    readonly url: string | null
    /** Plain HTTP listener for /.well-known/pki only; 0 is off. */
    readonly httpPort: number
  }
  readonly log: { readonly level: (typeof logLevels)[number]; readonly format: (typeof logFormats)[number] }
  readonly database: {
    /** `sqlite:/absolute/path` or `postgres://…`. Holds a password: not for logs. */
    readonly url: string
    readonly dialect: "sqlite" | "postgres"
    readonly maxConnections: number
    readonly demoSeed: boolean
  }
  readonly schedule: {
    readonly renewalCheckMs: number
    readonly jobProcessorMs: number
    readonly jobRetryMs: number
    readonly jobTimeoutMs: number
    /** Also how long an agent may be silent before it counts as stale. */
    readonly agentHealthMs: number
    readonly notificationProcessMs: number
    readonly notificationRetryMs: number
    readonly shortLivedExpiryMs: number
    /** Jobs worked at once. */
    readonly crlGenerationMs: number
    readonly renewalConcurrency: number
  }
  readonly jobs: { readonly awaitingCsrMs: number; readonly awaitingApprovalMs: number }
  /** Every approval request is approved at once. */
  readonly approvalBypass: boolean
  /** Empty: EST is off. */
  readonly est: readonly EstProfileSettings[]
  readonly scep: ScepSettings
  /** null: the ACME server is off. */
  readonly acme: AcmeServerSettings | null
  readonly ocsp: {
    /** Per address; 0: no limit. */
    readonly requestsPerMinute: number
    readonly responder: { readonly validityMs: number; readonly rotationGraceMs: number }
  }
  readonly auth: {
    readonly type: "api-key" | "none"
    /** Keys of the environment; secret. */
    readonly keys: readonly ConfiguredKey[]
    /** Gates agent registration; secret. null: a join token or an operator's key is needed. */
    readonly agentBootstrapToken: string | null
  }
  /** Certificates that one actor may export within an hour; 0: any number. */
  readonly exportsPerHour: number
  readonly rateLimit: {
    readonly enabled: boolean
    /** Without a valid key: per remote address. */
    readonly address: { readonly perSecond: number; readonly burst: number }
    /** With one: per key name. */
    readonly caller: { readonly perSecond: number; readonly burst: number }
  }
  /** Empty: no cross-origin answers. `*`: any. */
  readonly corsOrigins: readonly string[]
  readonly keygenMode: (typeof keygenModes)[number]
  /** Passphrase of everything sealed; null: made on first boot (SQLite only). Secret. */
  readonly encryptionKey: string | null
  readonly ca: {
    /** The subordinate CA on disk; null: the self-signed CA that the server makes itself. */
    readonly files: AuthorityFileSettings | null
    readonly keyType: (typeof authorityKeyTypes)[number]
    readonly commonName: string
    readonly organization: string | null
    readonly validityMs: number
    /** How far notBefore lies in the past, of the CA itself and of everything it signs. */
    readonly backdateMs: number
  }
  readonly verify: { readonly deployment: boolean; readonly timeoutMs: number; readonly delayMs: number }
  /** Notification channels by name, each with its connector's configuration; secret. */
  readonly notifiers: NotifierVariables
  readonly digest: DigestSettings
  /** Lines to log as warnings once logging is set up. */
  readonly warnings: readonly string[]
}

/** `auto`: the server's own CA. `files`: the operator's PEM pair. `off`: plain HTTP behind a proxy that ends TLS. */
export type TlsSettings =
  | { readonly mode: "auto"; readonly lifetimeMs: number }
  | { readonly mode: "files"; readonly certPath: string; readonly keyPath: string }
  | { readonly mode: "off" }

export interface AuthorityFileSettings {
  readonly certPath: string
  readonly keyPath: string
  readonly passphrase: string | null
}

/** What of the machine decides defaults; a parameter so that tests do not depend on who runs them where. */
export interface Machine {
  readonly isRoot: boolean
  readonly home: string
  readonly hostName: string
}

const thisMachine = (): Machine => ({ isRoot: process.getuid?.() === 0, home: homedir(), hostName: hostname() })

const pairOf = (read: EnvironmentReader, certName: string, keyName: string) => {
  const certPath = read.text(certName)
  const keyPath = read.text(keyName)
  if (certPath !== null && keyPath !== null) return { certPath: resolve(certPath), keyPath: resolve(keyPath) }
  if (certPath !== null) return refuse(`${certName} is set but ${keyName} is not: set both or neither`)
  if (keyPath !== null) return refuse(`${keyName} is set but ${certName} is not: set both or neither`)
  return null
}

const readTls = (read: EnvironmentReader, warn: (line: string) => void): TlsSettings => {
  const pair = pairOf(read, "CERTCTL_SERVER_TLS_CERT_PATH", "CERTCTL_SERVER_TLS_KEY_PATH")
  const mode = read.oneOf("CERTCTL_SERVER_TLS", ["auto", "files", "off"], pair === null ? "auto" : "files")
  const lifetimeMs = read.duration("CERTCTL_SERVER_TLS_LIFETIME", "2160h", "1h")
  if (mode === "files") {
    return pair === null
      ? refuse("CERTCTL_SERVER_TLS=files needs CERTCTL_SERVER_TLS_CERT_PATH and CERTCTL_SERVER_TLS_KEY_PATH")
      : { mode, ...pair }
  }
  if (pair !== null) warn(`CERTCTL_SERVER_TLS_CERT_PATH and _KEY_PATH are ignored, since CERTCTL_SERVER_TLS is ${mode}`)
  if (mode === "off") {
    warn("CERTCTL_SERVER_TLS is off: the server speaks plain HTTP and must stand behind a proxy that ends TLS")
    return { mode }
  }
  return { mode, lifetimeMs }
}

/** An http(s) base URL without its trailing slash. */
const baseUrl = (name: string, value: string): string => {
  const url = URL.canParse(value) ? new URL(value) : null
  const plain = url !== null && ["http:", "https:"].includes(url.protocol) && url.username === "" && url.password === ""
  if (!plain || url.search !== "" || url.hash !== "") {
    return refuse(`${name} must be an http or https URL without user name, query or fragment`)
  }
  return url.href.replace(/\/+$/, "")
}

const readTrustedProxies = (read: EnvironmentReader): readonly string[] => {
  const name = "CERTCTL_TRUSTED_PROXIES"
  const entries = read.list(name)
  entries.forEach((entry, index) => {
    const [address = "", prefix, ...rest] = entry.split("/")
    const family = isIP(address)
    const bits = prefix === undefined ? 0 : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
    if (family === 0 || rest.length > 0 || !(bits <= (family === 4 ? 32 : 128))) {
      refuse(`${name}: entry ${index + 1} is not an IP address or CIDR`)
    }
  })
  return entries
}

/** The addresses of `config.server.trustedProxies` as a list to ask. */
export const proxyList = (entries: readonly string[]): BlockList => {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = "", prefix] = entry.split("/")
    const family = isIP(address) === 4 ? "ipv4" : "ipv6"
    if (prefix === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(prefix), family)
  }
  return list
}

const readDatabase = (read: EnvironmentReader, dataDir: string): Config["database"] => {
  const name = "CERTCTL_DATABASE_URL"
  const given = read.text(name) ?? `sqlite:${join(dataDir, "certctl.db")}`
  const rest = {
    maxConnections: read.int("CERTCTL_DATABASE_MAX_CONNS", 25, { min: 1 }),
    demoSeed: read.bool("CERTCTL_DEMO_SEED", false),
  }
  if (/^postgres(ql)?:\/\//.test(given)) {
    if (!URL.canParse(given))
      refuse(`${name} is not a valid postgres:// URL (percent-encode special characters of the password)`)
    return { url: given, dialect: "postgres", ...rest }
  }
  const path = /^sqlite:(?:\/\/(?=\/))?(.+)$/s.exec(given)?.[1]
  // An in-memory database has no second connection, and would lose everything at the first restart.
  if (path === undefined || path === ":memory:") return refuse(`${name} must be sqlite:/path or postgres://…`)
  return { url: `sqlite:${resolve(path)}`, dialect: "sqlite", ...rest }
}

const readSchedule = (read: EnvironmentReader): Config["schedule"] => ({
  renewalCheckMs: read.duration("CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL", "1h", "1m"),
  jobProcessorMs: read.duration("CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL", "30s", "1s"),
  jobRetryMs: read.duration("CERTCTL_SCHEDULER_RETRY_INTERVAL", "5m", "1s"),
  jobTimeoutMs: read.duration("CERTCTL_JOB_TIMEOUT_INTERVAL", "10m", "1s"),
  agentHealthMs: read.duration("CERTCTL_SCHEDULER_AGENT_HEALTH_CHECK_INTERVAL", "2m", "1s"),
  notificationProcessMs: read.duration("CERTCTL_SCHEDULER_NOTIFICATION_PROCESS_INTERVAL", "1m", "1s"),
  notificationRetryMs: read.duration("CERTCTL_NOTIFICATION_RETRY_INTERVAL", "2m", "1s"),
  shortLivedExpiryMs: read.duration("CERTCTL_SHORT_LIVED_EXPIRY_CHECK_INTERVAL", "30s", "1s"),
  crlGenerationMs: read.duration("CERTCTL_CRL_GENERATION_INTERVAL", "1h", "1s"),
  renewalConcurrency: Math.max(1, read.int("CERTCTL_RENEWAL_CONCURRENCY", 25)),
})

const readOcsp = (read: EnvironmentReader): Config["ocsp"] => ({
  requestsPerMinute: read.int("CERTCTL_OCSP_RATE_LIMIT_PER_IP_MIN", 1000, { min: 0 }),
  responder: {
    validityMs: read.duration("CERTCTL_OCSP_RESPONDER_VALIDITY", "720h", "1h"),
    rotationGraceMs: read.duration("CERTCTL_OCSP_RESPONDER_ROTATION_GRACE", "168h", "1m"),
  },
})

const readApprovalBypass = (read: EnvironmentReader, warn: (line: string) => void): boolean => {
  const bypass = read.bool("CERTCTL_APPROVAL_BYPASS", false)
  if (bypass) warn("CERTCTL_APPROVAL_BYPASS is on: what needs approval is issued without anybody having approved it")
  return bypass
}

const readAuth = (read: EnvironmentReader, warn: (line: string) => void): Config["auth"] => {
  const name = "CERTCTL_AUTH_TYPE"
  if (read.text(name)?.trim() === "jwt") {
    refuse(`${name}=jwt is not offered: put an authenticating gateway in front and use none on a private listener`)
  }
  const type = read.oneOf(name, ["api-key", "none"], "api-key")
  if (type === "none") warn(`${name} is none: whoever reaches the listener may do everything that needs no admin`)
  return { type, keys: readApiKeys(read, warn), agentBootstrapToken: read.text("CERTCTL_AGENT_BOOTSTRAP_TOKEN") }
}

const readEncryptionKey = (read: EnvironmentReader, dialect: "sqlite" | "postgres"): string | null => {
  const name = "CERTCTL_CONFIG_ENCRYPTION_KEY"
  const key = read.text(name)
  if (key === null && dialect === "postgres") {
    return refuse(`${name} must be set with a PostgreSQL database: every server on it needs the same one`)
  }
  if (key !== null && Buffer.byteLength(key) < shortestPassphrase) {
    return refuse(`${name} must have at least ${shortestPassphrase} bytes`)
  }
  return key
}

const readAuthority = (read: EnvironmentReader): Config["ca"] => {
  const pair = pairOf(read, "CERTCTL_CA_CERT_PATH", "CERTCTL_CA_KEY_PATH")
  const commonName = read.text("CERTCTL_CA_COMMON_NAME") ?? "CertCtl Local CA"
  const organization = read.text("CERTCTL_CA_ORGANIZATION")
  // RFC 5280 appendix A: ub-common-name and ub-organization-name are 64.
  if (commonName.length > 64) refuse("CERTCTL_CA_COMMON_NAME must have at most 64 characters")
  if ((organization?.length ?? 0) > 64) refuse("CERTCTL_CA_ORGANIZATION must have at most 64 characters")
  return {
    files: pair === null ? null : { ...pair, passphrase: read.text("CERTCTL_CA_KEY_PASSPHRASE") },
    keyType: read.oneOf("CERTCTL_CA_KEY_TYPE", authorityKeyTypes, "ecdsa-p256"),
    commonName,
    organization,
    validityMs: read.duration("CERTCTL_CA_VALIDITY", "87600h", "1h"),
    backdateMs: read.duration("CERTCTL_CA_BACKDATE", "15m", "0s"),
  }
}

const readRateLimit = (read: EnvironmentReader): Config["rateLimit"] => {
  const perSecond = read.float("CERTCTL_RATE_LIMIT_RPS", 50)
  if (perSecond <= 0)
    refuse("CERTCTL_RATE_LIMIT_RPS must be above 0 (CERTCTL_RATE_LIMIT_ENABLED=false switches the limit off)")
  const burst = read.int("CERTCTL_RATE_LIMIT_BURST", 100, { min: 1 })
  const callerPerSecond = read.float("CERTCTL_RATE_LIMIT_PER_USER_RPS", 0)
  if (callerPerSecond < 0) refuse("CERTCTL_RATE_LIMIT_PER_USER_RPS must be 0 (as for addresses) or above")
  const callerBurst = read.int("CERTCTL_RATE_LIMIT_PER_USER_BURST", 0, { min: 0 })
  return {
    enabled: read.bool("CERTCTL_RATE_LIMIT_ENABLED", true),
    address: { perSecond, burst },
    caller: { perSecond: callerPerSecond || perSecond, burst: callerBurst || burst },
  }
}

const freezeDeep = <T>(value: T): T => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) freezeDeep(inner)
  }
  return value
}

/**
 * Reads and validates all settings. Reads no file: what the named files hold is checked where they are opened.
 * Throws `validation` with one line fit for the terminal; it names the variable and holds no value.
 */
export const readConfig = (env: Env, machine: Machine = thisMachine()): Config => {
  const warnings: string[] = []
  const warn = (line: string) => void warnings.push(line)
  const read = environmentReader(env, warn)

  const dataDir = dataDirectoryOf(env, machine)
  const port = read.int("CERTCTL_SERVER_PORT", 8443, { min: 1, max: 65535 })
  const tls = readTls(read, warn)
  const publicUrl =
    read.text("CERTCTL_PUBLIC_URL") ?? `${tls.mode === "off" ? "http" : "https"}://${machine.hostName}:${port}`
  const pkiUrl = read.text("CERTCTL_PKI_URL")
  const database = readDatabase(read, dataDir)
  const keygenMode = read.oneOf("CERTCTL_KEYGEN_MODE", keygenModes, "agent")
  if (keygenMode === "server") {
    warn("CERTCTL_KEYGEN_MODE is server: private keys are made on the server, which is meant for demonstrations only")
  }

  return freezeDeep({
    dataDir,
    secretsDir: resolve(read.text("CERTCTL_SECRETS_DIR") ?? "/etc/certctl/secrets"),
    server: {
      host: read.text("CERTCTL_SERVER_HOST") ?? "127.0.0.1",
      port,
      publicUrl: baseUrl("CERTCTL_PUBLIC_URL", publicUrl),
      maxBodyBytes: read.int("CERTCTL_MAX_BODY_SIZE", 1_048_576, { min: 1 }),
      trustedProxies: readTrustedProxies(read),
      auditFlushMs: read.int("CERTCTL_AUDIT_FLUSH_TIMEOUT_SECONDS", 30, { min: 1 }) * 1000,
    },
    tls,
    pki: {
      url: pkiUrl === null ? null : baseUrl("CERTCTL_PKI_URL", pkiUrl),
      httpPort: read.int("CERTCTL_PKI_HTTP_PORT", 0, { min: 0, max: 65535 }),
    },
    log: {
      level: read.oneOf("CERTCTL_LOG_LEVEL", logLevels, "info"),
      format: read.oneOf("CERTCTL_LOG_FORMAT", logFormats, "json"),
    },
    database,
    schedule: readSchedule(read),
    jobs: {
      awaitingCsrMs: read.duration("CERTCTL_JOB_AWAITING_CSR_TIMEOUT", "24h", "1s"),
      awaitingApprovalMs: read.duration("CERTCTL_JOB_AWAITING_APPROVAL_TIMEOUT", "168h", "1s"),
    },
    approvalBypass: readApprovalBypass(read, warn),
    ocsp: readOcsp(read),
    est: readEst(read, warn),
    scep: readScep(read),
    acme: readAcme(read, warn),
    auth: readAuth(read, warn),
    rateLimit: readRateLimit(read),
    exportsPerHour: read.int("CERTCTL_CERT_EXPORT_RATE_LIMIT_PER_ACTOR_HR", 50, { min: 0 }),
    corsOrigins: read.list("CERTCTL_CORS_ORIGINS"),
    keygenMode,
    encryptionKey: readEncryptionKey(read, database.dialect),
    ca: readAuthority(read),
    verify: {
      deployment: read.bool("CERTCTL_VERIFY_DEPLOYMENT", true),
      timeoutMs: read.duration("CERTCTL_VERIFY_TIMEOUT", "10s", "1s"),
      delayMs: read.duration("CERTCTL_VERIFY_DELAY", "2s", "0s"),
    },
    notifiers: readNotifiers(read, warn),
    digest: readDigest(read),
    warnings,
  })
}
