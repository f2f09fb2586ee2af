import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type Machine, proxyList, readConfig } from "./config"
import type { Env } from "./config/environment"
import { AppError } from "./errors"
import { keyTypes } from "./pki/keys"

const machine: Machine = { isRoot: false, home: "/home/ada", hostName: "box" }
const read = (env: Env = {}) => readConfig(env, machine)
const postgres = "postgres://certctl:pw@db:5432/certctl"
const passphrase = "a passphrase of 32 bytes or more"

const refusalOf = (env: Env): string => {
  try {
    read(env)
  } catch (error) {
    if (error instanceof AppError && error.code === "validation") return error.message
    throw error
  }
  throw new Error("was not refused")
}

test("an empty environment is a working server", () => {
  expect(read()).toMatchObject({
    dataDir: "/home/ada/.local/share/certctl",
    secretsDir: "/etc/certctl/secrets",
    server: {
      host: "127.0.0.1",
      port: 8443,
      publicUrl: "https://box:8443",
      maxBodyBytes: 1_048_576,
      trustedProxies: [],
      auditFlushMs: 30_000,
    },
    tls: { mode: "auto", lifetimeMs: 90 * 86_400_000 },
    pki: { url: null, httpPort: 0 },
    log: { level: "info", format: "json" },
    database: {
      url: "sqlite:/home/ada/.local/share/certctl/certctl.db",
      dialect: "sqlite",
      maxConnections: 25,
      demoSeed: false,
    },
    schedule: {
      renewalCheckMs: 3_600_000,
      jobProcessorMs: 30_000,
      jobRetryMs: 300_000,
      jobTimeoutMs: 600_000,
      agentHealthMs: 120_000,
      notificationProcessMs: 60_000,
      notificationRetryMs: 120_000,
      shortLivedExpiryMs: 30_000,
      renewalConcurrency: 25,
    },
    jobs: { awaitingCsrMs: 86_400_000, awaitingApprovalMs: 604_800_000 },
    auth: { type: "api-key", keys: [], agentBootstrapToken: null },
    exportsPerHour: 50,
    rateLimit: { enabled: true, address: { perSecond: 50, burst: 100 }, caller: { perSecond: 50, burst: 100 } },
    corsOrigins: [],
    keygenMode: "agent",
    encryptionKey: null,
    ca: {
      files: null,
      keyType: "ecdsa-p256",
      commonName: "CertCtl Local CA",
      organization: null,
      validityMs: 87_600 * 3_600_000,
      backdateMs: 900_000,
    },
    verify: { deployment: true, timeoutMs: 10_000, delayMs: 2_000 },
    notifiers: {},
    digest: { enabled: false, intervalMs: 86_400_000, recipients: [] },
    warnings: [],
  })
})

test("the result is frozen to its last corner", () => {
  const config = read({ CERTCTL_API_KEYS_NAMED: "a:1,b:2" })
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return
    expect(Object.isFrozen(value)).toBe(true)
    for (const inner of Object.values(value)) visit(inner)
  }
  visit(config)
})

test("root keeps its data under /var/lib", () => {
  expect(readConfig({}, { ...machine, isRoot: true }).dataDir).toBe("/var/lib/certctl")
  expect(readConfig({ CERTCTL_DATA_DIR: "/srv/c" }, { ...machine, isRoot: true }).database.url).toBe(
    "sqlite:/srv/c/certctl.db",
  )
})

describe("refuses", () => {
  const pair = { CERTCTL_DATABASE_URL: postgres, CERTCTL_CONFIG_ENCRYPTION_KEY: passphrase }
  test.each<[string, Env, string]>([
    ["port 0", { CERTCTL_SERVER_PORT: "0" }, "CERTCTL_SERVER_PORT must be between 1 and 65535"],
    ["a negative port", { CERTCTL_SERVER_PORT: "-1" }, "CERTCTL_SERVER_PORT must be between 1 and 65535"],
    ["port 65536", { CERTCTL_SERVER_PORT: "65536" }, "CERTCTL_SERVER_PORT must be between 1 and 65535"],
    [
      "a TLS certificate without key",
      { CERTCTL_SERVER_TLS_CERT_PATH: "/c" },
      "CERTCTL_SERVER_TLS_CERT_PATH is set but CERTCTL_SERVER_TLS_KEY_PATH is not",
    ],
    [
      "a TLS key without certificate",
      { CERTCTL_SERVER_TLS_KEY_PATH: "/k" },
      "CERTCTL_SERVER_TLS_KEY_PATH is set but CERTCTL_SERVER_TLS_CERT_PATH is not",
    ],
    [
      "half a TLS pair even where TLS is off",
      { CERTCTL_SERVER_TLS: "off", CERTCTL_SERVER_TLS_KEY_PATH: "/k" },
      "CERTCTL_SERVER_TLS_KEY_PATH is set but",
    ],
    ["files without paths", { CERTCTL_SERVER_TLS: "files" }, "CERTCTL_SERVER_TLS=files needs"],
    ["an unknown TLS mode", { CERTCTL_SERVER_TLS: "on" }, "CERTCTL_SERVER_TLS must be one of auto, files, off"],
    [
      "a TLS lifetime of minutes",
      { CERTCTL_SERVER_TLS_LIFETIME: "5m" },
      "CERTCTL_SERVER_TLS_LIFETIME must be at least 1h",
    ],
    [
      "a public URL of another scheme",
      { CERTCTL_PUBLIC_URL: "ftp://x" },
      "CERTCTL_PUBLIC_URL must be an http or https URL",
    ],
    [
      "a public URL with a password",
      { CERTCTL_PUBLIC_URL: "https://u:p@x" },
      "CERTCTL_PUBLIC_URL must be an http or https URL",
    ],
    ["a PKI URL that is none", { CERTCTL_PKI_URL: "pki.example" }, "CERTCTL_PKI_URL must be an http or https URL"],
    [
      "a PKI port out of range",
      { CERTCTL_PKI_HTTP_PORT: "70000" },
      "CERTCTL_PKI_HTTP_PORT must be between 0 and 65535",
    ],
    [
      "a proxy that is no address",
      { CERTCTL_TRUSTED_PROXIES: "10.0.0.0/8,proxy" },
      "CERTCTL_TRUSTED_PROXIES: entry 2 is not",
    ],
    [
      "a proxy with too long a prefix",
      { CERTCTL_TRUSTED_PROXIES: "10.0.0.0/33" },
      "CERTCTL_TRUSTED_PROXIES: entry 1 is not",
    ],
    [
      "a proxy with an empty prefix",
      { CERTCTL_TRUSTED_PROXIES: "10.0.0.0/" },
      "CERTCTL_TRUSTED_PROXIES: entry 1 is not",
    ],
    ["an empty body limit", { CERTCTL_MAX_BODY_SIZE: "0" }, "CERTCTL_MAX_BODY_SIZE must be at least 1"],
    [
      "no time to flush",
      { CERTCTL_AUDIT_FLUSH_TIMEOUT_SECONDS: "0" },
      "CERTCTL_AUDIT_FLUSH_TIMEOUT_SECONDS must be at least 1",
    ],
    [
      "an unknown log level",
      { CERTCTL_LOG_LEVEL: "trace" },
      "CERTCTL_LOG_LEVEL must be one of debug, info, warn, error",
    ],
    ["an unknown log format", { CERTCTL_LOG_FORMAT: "xml" }, "CERTCTL_LOG_FORMAT must be one of json, text"],
    [
      "an unknown key generation mode",
      { CERTCTL_KEYGEN_MODE: "hsm" },
      "CERTCTL_KEYGEN_MODE must be one of agent, server",
    ],
    [
      "another database",
      { CERTCTL_DATABASE_URL: "mysql://x" },
      "CERTCTL_DATABASE_URL must be sqlite:/path or postgres://…",
    ],
    ["a database in memory", { CERTCTL_DATABASE_URL: "sqlite::memory:" }, "CERTCTL_DATABASE_URL must be sqlite:/path"],
    [
      "a broken PostgreSQL URL",
      { ...pair, CERTCTL_DATABASE_URL: "postgres://u:a/b#c@h:x" },
      "CERTCTL_DATABASE_URL is not a valid postgres:// URL",
    ],
    ["no database connections", { CERTCTL_DATABASE_MAX_CONNS: "0" }, "CERTCTL_DATABASE_MAX_CONNS must be at least 1"],
    ["jwt", { CERTCTL_AUTH_TYPE: "jwt" }, "CERTCTL_AUTH_TYPE=jwt is not offered"],
    [
      "an unknown kind of authentication",
      { CERTCTL_AUTH_TYPE: "basic" },
      "CERTCTL_AUTH_TYPE must be one of api-key, none",
    ],
    ["a key without a name", { CERTCTL_API_KEYS_NAMED: ":k" }, "CERTCTL_API_KEYS_NAMED: entry 1 needs a name"],
    [
      "a key with a bad name",
      { CERTCTL_API_KEYS_NAMED: "ok:k,not ok:k" },
      "CERTCTL_API_KEYS_NAMED: entry 2 needs a name",
    ],
    ["an empty key", { CERTCTL_API_KEYS_NAMED: "ada:" }, "CERTCTL_API_KEYS_NAMED: entry 1 has no key"],
    ["a name alone", { CERTCTL_API_KEYS_NAMED: "ada" }, "CERTCTL_API_KEYS_NAMED: entry 1 has no key"],
    [
      "a third field other than admin",
      { CERTCTL_API_KEYS_NAMED: "ada:k:viewer" },
      "CERTCTL_API_KEYS_NAMED: entry 1 has a third field other than",
    ],
    [
      "an empty third field",
      { CERTCTL_API_KEYS_NAMED: "ada:k:" },
      "CERTCTL_API_KEYS_NAMED: entry 1 has a third field other than",
    ],
    [
      "a fourth field",
      { CERTCTL_API_KEYS_NAMED: "ada:k:admin:x" },
      "CERTCTL_API_KEYS_NAMED: entry 1 has a third field other than",
    ],
    [
      "the same pair twice",
      { CERTCTL_API_KEYS_NAMED: "ada:k,bob:l,ada:k" },
      "CERTCTL_API_KEYS_NAMED: entries 1 and 3 are the same name and key",
    ],
    [
      "one name with two roles",
      { CERTCTL_API_KEYS_NAMED: "ada:k:admin,ada:l" },
      "CERTCTL_API_KEYS_NAMED: entries 1 and 2 have the same name, but only one of them is admin",
    ],
    [
      "an encryption key of 31 bytes",
      { CERTCTL_CONFIG_ENCRYPTION_KEY: "k".repeat(31) },
      "CERTCTL_CONFIG_ENCRYPTION_KEY must have at least 32 bytes",
    ],
    [
      "PostgreSQL without an encryption key",
      { CERTCTL_DATABASE_URL: postgres },
      "CERTCTL_CONFIG_ENCRYPTION_KEY must be set with a PostgreSQL database",
    ],
    ["a rate of zero", { CERTCTL_RATE_LIMIT_RPS: "0" }, "CERTCTL_RATE_LIMIT_RPS must be above 0"],
    ["a negative rate", { CERTCTL_RATE_LIMIT_PER_USER_RPS: "-1" }, "CERTCTL_RATE_LIMIT_PER_USER_RPS must be 0"],
    ["an empty bucket", { CERTCTL_RATE_LIMIT_BURST: "0" }, "CERTCTL_RATE_LIMIT_BURST must be at least 1"],
    [
      "a CA certificate without key",
      { CERTCTL_CA_CERT_PATH: "/c" },
      "CERTCTL_CA_CERT_PATH is set but CERTCTL_CA_KEY_PATH is not",
    ],
    [
      "a CA key without certificate",
      { CERTCTL_CA_KEY_PATH: "/k" },
      "CERTCTL_CA_KEY_PATH is set but CERTCTL_CA_CERT_PATH is not",
    ],
    ["an unknown CA key type", { CERTCTL_CA_KEY_TYPE: "dsa" }, "CERTCTL_CA_KEY_TYPE must be one of ecdsa-p256"],
    ["a long CA name", { CERTCTL_CA_COMMON_NAME: "x".repeat(65) }, "CERTCTL_CA_COMMON_NAME must have at most 64"],
    [
      "a long CA organization",
      { CERTCTL_CA_ORGANIZATION: "x".repeat(65) },
      "CERTCTL_CA_ORGANIZATION must have at most 64",
    ],
    ["a CA of minutes", { CERTCTL_CA_VALIDITY: "10m" }, "CERTCTL_CA_VALIDITY must be at least 1h"],
    ["a CA dated ahead", { CERTCTL_CA_BACKDATE: "-1m" }, "CERTCTL_CA_BACKDATE must be at least 0s"],
    [
      "a probe timeout below a second",
      { CERTCTL_VERIFY_TIMEOUT: "999ms" },
      "CERTCTL_VERIFY_TIMEOUT must be at least 1s",
    ],
    [
      "a renewal check below a minute",
      { CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL: "59s" },
      "CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL must be at least 1m",
    ],
    ...[
      "CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL",
      "CERTCTL_SCHEDULER_RETRY_INTERVAL",
      "CERTCTL_JOB_TIMEOUT_INTERVAL",
      "CERTCTL_JOB_AWAITING_CSR_TIMEOUT",
      "CERTCTL_JOB_AWAITING_APPROVAL_TIMEOUT",
      "CERTCTL_SCHEDULER_AGENT_HEALTH_CHECK_INTERVAL",
      "CERTCTL_SCHEDULER_NOTIFICATION_PROCESS_INTERVAL",
      "CERTCTL_NOTIFICATION_RETRY_INTERVAL",
      "CERTCTL_SHORT_LIVED_EXPIRY_CHECK_INTERVAL",
    ].map((name): [string, Env, string] => [
      `${name} below a second`,
      { [name]: "900ms" },
      `${name} must be at least 1s`,
    ]),
  ])("%s", (_what, env, line) => {
    const message = refusalOf(env)
    expect(message).toStartWith(line)
    expect(message).not.toContain("\n")
  })
})

test("no refusal and no warning repeats a secret", async () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9]{12,40}$/).map((text) => `S3${text}`)
  const shapes: ((s: string) => Env)[] = [
    (s) => ({ CERTCTL_API_KEYS_NAMED: s }),
    (s) => ({ CERTCTL_API_KEYS_NAMED: `${s}!:name` }),
    (s) => ({ CERTCTL_API_KEYS_NAMED: `${s}:name:operator` }),
    (s) => ({ CERTCTL_API_KEYS_NAMED: `a:${s},a:${s}` }),
    (s) => ({ CERTCTL_API_KEYS_NAMED: `a:${s},b:${s}` }),
    (s) => ({ CERTCTL_API_KEYS_NAMED: `a:${s},a:${s}2:admin` }),
    (s) => ({ CERTCTL_AUTH_SECRET: s }),
    (s) => ({ CERTCTL_CONFIG_ENCRYPTION_KEY: s.slice(0, 30) }),
    (s) => ({ CERTCTL_DATABASE_URL: `postgres://u:${s}@h/d` }),
    (s) => ({ CERTCTL_DATABASE_URL: `postgres://u:${s}/@h:x/d`, CERTCTL_CONFIG_ENCRYPTION_KEY: passphrase }),
    (s) => ({ CERTCTL_DATABASE_URL: `mysql://u:${s}@h/d` }),
    (s) => ({ CERTCTL_PUBLIC_URL: `https://u:${s}@h` }),
    (s) => ({ CERTCTL_CA_KEY_PASSPHRASE: s, CERTCTL_CA_KEY_PATH: "/k" }),
    (s) => ({ CERTCTL_SERVER_PORT: s, CERTCTL_LOG_LEVEL: s }),
    (s) => ({ CERTCTL_VERIFY_TIMEOUT: s, CERTCTL_RATE_LIMIT_RPS: s, CERTCTL_AUTH_TYPE: s }),
  ]
  fc.assert(
    fc.property(secret, fc.constantFrom(...shapes), (text, shape) => {
      const env = shape(text)
      const said = (() => {
        try {
          return read(env).warnings.join("\n")
        } catch (error) {
          return String(error)
        }
      })()
      expect(said).not.toContain(text)
    }),
  )
})

describe("values that cannot be parsed give way to the default, with a warning", () => {
  test.each<[string, string, (config: ReturnType<typeof read>) => unknown, unknown]>([
    ["CERTCTL_SERVER_PORT", "https", ({ server }) => server.port, 8443],
    ["CERTCTL_SERVER_PORT", "8443.5", ({ server }) => server.port, 8443],
    ["CERTCTL_MAX_BODY_SIZE", "1MiB", ({ server }) => server.maxBodyBytes, 1_048_576],
    ["CERTCTL_RATE_LIMIT_RPS", "fast", ({ rateLimit }) => rateLimit.address.perSecond, 50],
    ["CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL", "hourly", ({ schedule }) => schedule.renewalCheckMs, 3_600_000],
    ["CERTCTL_SCHEDULER_RETRY_INTERVAL", "300", ({ schedule }) => schedule.jobRetryMs, 300_000],
  ])("%s=%s", (name, value, pick, expected) => {
    const config = read({ [name]: value })
    expect(pick(config)).toBe(expected)
    expect(config.warnings.join("\n")).toContain(`${name} is not`)
  })
})

test("callers with a key have the limit of addresses, unless they have one of their own", () => {
  const limits = (env: Record<string, string>) => readConfig({ CERTCTL_DATA_DIR: "/d", ...env }).rateLimit
  const address = { perSecond: 5, burst: 7 }
  const given = { CERTCTL_RATE_LIMIT_RPS: "5", CERTCTL_RATE_LIMIT_BURST: "7" }
  expect(limits(given)).toMatchObject({ address, caller: address })
  const own = { CERTCTL_RATE_LIMIT_PER_USER_RPS: "0.5", CERTCTL_RATE_LIMIT_PER_USER_BURST: "2" }
  expect(limits({ ...given, ...own })).toMatchObject({ address, caller: { perSecond: 0.5, burst: 2 } })
})

test("an empty variable counts as unset", () => {
  const empty = Object.fromEntries(
    ["SERVER_HOST", "SERVER_PORT", "AUTH_TYPE", "CONFIG_ENCRYPTION_KEY", "DATABASE_URL", "PUBLIC_URL", "DATA_DIR"].map(
      (name) => [`CERTCTL_${name}`, ""],
    ),
  )
  expect(read(empty)).toEqual(read())
})

test.each([
  ["true", true],
  ["TRUE", true],
  ["1", true],
  ["Yes", true],
  ["false", false],
  ["0", false],
  ["on", false],
  ["nonsense", false],
])("the switch %p is %p", (text, expected) => {
  expect(read({ CERTCTL_DEMO_SEED: text }).database.demoSeed).toBe(expected)
  expect(read({ CERTCTL_VERIFY_DEPLOYMENT: text }).verify.deployment).toBe(expected)
})

test("a renewal concurrency of nothing is one", () => {
  expect(read({ CERTCTL_RENEWAL_CONCURRENCY: "0" }).schedule.renewalConcurrency).toBe(1)
  expect(read({ CERTCTL_RENEWAL_CONCURRENCY: "-5" }).schedule.renewalConcurrency).toBe(1)
})

test("every key type that can be generated can be the CA's", () => {
  for (const keyType of keyTypes) expect(read({ CERTCTL_CA_KEY_TYPE: keyType }).ca.keyType).toBe(keyType)
})

describe("TLS", () => {
  const paths = { CERTCTL_SERVER_TLS_CERT_PATH: "/c.pem", CERTCTL_SERVER_TLS_KEY_PATH: "/k.pem" }
  test("both paths mean files", () => {
    expect(read(paths).tls).toEqual({ mode: "files", certPath: "/c.pem", keyPath: "/k.pem" })
  })
  test("a mode that ignores given files says so", () => {
    const config = read({ ...paths, CERTCTL_SERVER_TLS: "auto" })
    expect(config.tls.mode).toBe("auto")
    expect(config.warnings.join("\n")).toContain("are ignored, since CERTCTL_SERVER_TLS is auto")
  })
  test("off warns and makes the public URL plain", () => {
    const config = read({ CERTCTL_SERVER_TLS: "off", CERTCTL_SERVER_PORT: "8080" })
    expect(config.tls).toEqual({ mode: "off" })
    expect(config.server.publicUrl).toBe("http://box:8080")
    expect(config.warnings.join("\n")).toContain("plain HTTP")
  })
})

describe("keys of the environment", () => {
  test("names, keys and roles, with a rotation overlap", () => {
    const { auth, warnings } = read({ CERTCTL_API_KEYS_NAMED: "ada:one:admin, ada:two:admin ,ci_1-x:three,," })
    expect(auth.keys).toEqual([
      { name: "ada", key: "one", role: "admin" },
      { name: "ada", key: "two", role: "admin" },
      { name: "ci_1-x", key: "three", role: "operator" },
    ])
    expect(warnings).toEqual([])
  })
  test("a lone key is worth a warning", () => {
    expect(read({ CERTCTL_API_KEYS_NAMED: "ada:one" }).warnings.join("\n")).toContain("only one key")
  })
  test("the legacy variable makes numbered operators, and is deprecated", () => {
    const { auth, warnings } = read({ CERTCTL_AUTH_SECRET: "one, two" })
    expect(auth.keys).toEqual([
      { name: "legacy-key-0", key: "one", role: "operator" },
      { name: "legacy-key-1", key: "two", role: "operator" },
    ])
    expect(warnings.join("\n")).toContain("CERTCTL_AUTH_SECRET is deprecated")
  })
  test("the legacy variable is ignored beside named keys", () => {
    const { auth, warnings } = read({ CERTCTL_AUTH_SECRET: "one", CERTCTL_API_KEYS_NAMED: "a:x,b:y" })
    expect(auth.keys.map(({ name }) => name)).toEqual(["a", "b"])
    expect(warnings.join("\n")).toContain("deprecated and ignored")
  })
})

test.each<[string, Env]>([
  ["CERTCTL_AUTH_TYPE is none", { CERTCTL_AUTH_TYPE: "none" }],
  ["CERTCTL_KEYGEN_MODE is server", { CERTCTL_KEYGEN_MODE: "server" }],
  ["CERTCTL_APPROVAL_BYPASS is on", { CERTCTL_APPROVAL_BYPASS: "true" }],
])("warns: %s", (line, env) => {
  expect(read(env).warnings.join("\n")).toContain(line)
})

test.each([
  ["sqlite:/var/x.db", "sqlite", "sqlite:/var/x.db"],
  ["sqlite:///var/x.db", "sqlite", "sqlite:/var/x.db"],
  [postgres, "postgres", postgres],
  ["postgresql://db/certctl", "postgres", "postgresql://db/certctl"],
])("the database URL %p", (given, dialect, url) => {
  const { database } = read({ CERTCTL_DATABASE_URL: given, CERTCTL_CONFIG_ENCRYPTION_KEY: passphrase })
  expect(database).toMatchObject({ dialect, url })
})

test("the public URL loses its trailing slash", () => {
  expect(read({ CERTCTL_PUBLIC_URL: "https://certs.example/" }).server.publicUrl).toBe("https://certs.example")
  expect(read({ CERTCTL_PKI_URL: "http://pki.example/base/" }).pki.url).toBe("http://pki.example/base")
})

test("the list of proxies knows addresses and ranges of both families", () => {
  const { trustedProxies } = read({ CERTCTL_TRUSTED_PROXIES: "10.0.0.0/8, 192.0.2.1,2001:db8::/32,0.0.0.0/32" }).server
  const list = proxyList(trustedProxies)
  expect(list.check("10.200.3.4", "ipv4")).toBe(true)
  expect(list.check("192.0.2.1", "ipv4")).toBe(true)
  expect(list.check("192.0.2.2", "ipv4")).toBe(false)
  expect(list.check("2001:db8::7", "ipv6")).toBe(true)
  expect(list.check("2001:db9::7", "ipv6")).toBe(false)
})

test("the CA on disk and its passphrase", () => {
  const { ca } = read({
    CERTCTL_CA_CERT_PATH: "/ca.pem",
    CERTCTL_CA_KEY_PATH: "/ca.key",
    CERTCTL_CA_KEY_PASSPHRASE: "pw",
  })
  expect(ca.files).toEqual({ certPath: "/ca.pem", keyPath: "/ca.key", passphrase: "pw" })
})
