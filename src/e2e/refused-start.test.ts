/** Where the server must not start: exit code 1, one clear line, nothing listening. */
import { Database } from "bun:sqlite"
import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { createRootAuthority } from "../pki/authority"
import { privateKeyPem } from "../pki/keys"
import { freePort } from "../testing/free-port"
import { postgresScene } from "../testing/on-each-database"
import { prepareLimitMs, prepareTestPostgres } from "../testing/postgres"
import { encryptionKey, serverProcess } from "../testing/server-process"
import { executable, openStage, type Stage } from "../testing/stage"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

let stage: Stage
afterEach(() => stage.end())

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
      .once("connect", () => resolve(true))
      .once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

/** Runs `certctl server` to its end and returns its one line. */
const refusal = async (env: Readonly<Record<string, string>>, dataDir = stage.at("refused")): Promise<string> => {
  const port = await freePort()
  const program = stage.run([executable, "server"], {
    env: { CERTCTL_DATA_DIR: dataDir, CERTCTL_SERVER_PORT: String(port), CERTCTL_LOG_LEVEL: "error", ...env },
    name: `refused-${port}`,
  })
  expect(await program.exited).toBe(1)
  expect(await isListening(port)).toBe(false)
  expect(program.stdout()).toBe("")
  const [line, ...rest] = program.stderr().split("\n")
  expect(rest).toEqual([""])
  expect(line).toStartWith("certctl: ")
  return line ?? ""
}

const pair = async (): Promise<{ certPath: string; keyPath: string; otherKeyPath: string }> => {
  const authority = await testAuthority()
  const [leaf, other] = [await testLeaf(authority, ["localhost"]), await testLeaf(authority, ["localhost"])]
  const paths = { certPath: stage.at("tls.pem"), keyPath: stage.at("tls.key"), otherKeyPath: stage.at("other.key") }
  writeFileSync(paths.certPath, leaf.certPem)
  writeFileSync(paths.keyPath, leaf.keyPem, { mode: 0o600 })
  writeFileSync(paths.otherKeyPath, other.keyPem, { mode: 0o600 })
  return paths
}

const est = { CERTCTL_EST_ENABLED: "true", CERTCTL_EST_ENROLLMENT_PASSWORD: "secret-of-ours" }
const scep = { CERTCTL_SCEP_ENABLED: "true", CERTCTL_SCEP_CHALLENGE_PASSWORD: "secret-of-ours" }

describe("the server does not start", () => {
  const bad: readonly (readonly [env: Readonly<Record<string, string>>, words: string])[] = [
    [{ CERTCTL_SERVER_PORT: "0" }, "CERTCTL_SERVER_PORT must be"],
    [{ CERTCTL_SERVER_PORT: "65536" }, "CERTCTL_SERVER_PORT must be"],
    [{ CERTCTL_SERVER_TLS: "on" }, "CERTCTL_SERVER_TLS must be one of"],
    [{ CERTCTL_SERVER_TLS: "files" }, "CERTCTL_SERVER_TLS_CERT_PATH"],
    [{ CERTCTL_SERVER_TLS_CERT_PATH: "/tmp/x.pem" }, "CERTCTL_SERVER_TLS_KEY_PATH is not"],
    [{ CERTCTL_SERVER_TLS_KEY_PATH: "/tmp/x.key" }, "CERTCTL_SERVER_TLS_CERT_PATH is not"],
    [
      { CERTCTL_SERVER_TLS_CERT_PATH: "/nowhere/x.pem", CERTCTL_SERVER_TLS_KEY_PATH: "/nowhere/x.key" },
      "cannot read /nowhere/x.",
    ],
    [{ CERTCTL_SERVER_HOST: "192.0.2.1" }, "cannot listen on 192.0.2.1"],
    [{ CERTCTL_PUBLIC_URL: "certctl.example" }, "CERTCTL_PUBLIC_URL must be"],
    [{ CERTCTL_DATA_DIR: "/dev/null/certctl" }, "data directory /dev/null/certctl is not writable"],
    [{ CERTCTL_DATABASE_URL: "mysql://localhost/x" }, "CERTCTL_DATABASE_URL must be"],
    [{ CERTCTL_DATABASE_URL: "sqlite::memory:" }, "CERTCTL_DATABASE_URL must be"],
    [{ CERTCTL_DATABASE_URL: "sqlite:/dev/null/certctl.db" }, "/dev/null"],
    [{ CERTCTL_DATABASE_MAX_CONNS: "0" }, "CERTCTL_DATABASE_MAX_CONNS must be"],
    [{ CERTCTL_DATABASE_URL: "postgres://localhost/x" }, "CERTCTL_CONFIG_ENCRYPTION_KEY must be set"],
    [
      {
        CERTCTL_DATABASE_URL: "postgres://a:secret-of-ours@127.0.0.1:9/x",
        CERTCTL_CONFIG_ENCRYPTION_KEY: encryptionKey,
      },
      "127.0.0.1",
    ],
    [{ CERTCTL_LOG_LEVEL: "loud" }, "CERTCTL_LOG_LEVEL must be one of"],
    [{ CERTCTL_LOG_FORMAT: "xml" }, "CERTCTL_LOG_FORMAT must be one of"],
    [{ CERTCTL_AUTH_TYPE: "ldap" }, "CERTCTL_AUTH_TYPE must be one of"],
    [{ CERTCTL_AUTH_TYPE: "jwt" }, "CERTCTL_AUTH_TYPE=jwt is not offered"],
    [{ CERTCTL_API_KEYS_NAMED: "ops" }, "CERTCTL_API_KEYS_NAMED"],
    [{ CERTCTL_API_KEYS_NAMED: "o ps:secret-of-ours" }, "CERTCTL_API_KEYS_NAMED"],
    [{ CERTCTL_API_KEYS_NAMED: "ops:" }, "CERTCTL_API_KEYS_NAMED"],
    [{ CERTCTL_API_KEYS_NAMED: "ops:secret-of-ours:root" }, "CERTCTL_API_KEYS_NAMED"],
    [{ CERTCTL_API_KEYS_NAMED: "ops:secret-of-ours,ops:secret-of-ours" }, "CERTCTL_API_KEYS_NAMED"],
    [{ CERTCTL_API_KEYS_NAMED: "ops:secret-of-ours,ops:another-one:admin" }, "CERTCTL_API_KEYS_NAMED"],
    [{ CERTCTL_CONFIG_ENCRYPTION_KEY: "secret-of-ours" }, "CERTCTL_CONFIG_ENCRYPTION_KEY must have at least 32 bytes"],
    [{ CERTCTL_KEYGEN_MODE: "client" }, "CERTCTL_KEYGEN_MODE must be one of"],
    [
      { CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL: "59s" },
      "CERTCTL_SCHEDULER_RENEWAL_CHECK_INTERVAL must be at least 1m",
    ],
    [
      { CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL: "0s" },
      "CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL must be at least 1s",
    ],
    [{ CERTCTL_JOB_AWAITING_CSR_TIMEOUT: "10ms" }, "CERTCTL_JOB_AWAITING_CSR_TIMEOUT must be at least 1s"],
    [{ CERTCTL_VERIFY_TIMEOUT: "10ms" }, "CERTCTL_VERIFY_TIMEOUT must be at least 1s"],
    [{ CERTCTL_CA_CERT_PATH: "/nowhere/ca.pem" }, "CERTCTL_CA_KEY_PATH is not"],
    [{ CERTCTL_CA_CERT_PATH: "/nowhere/ca.pem", CERTCTL_CA_KEY_PATH: "/nowhere/ca.key" }, "/nowhere/ca."],
    [{ CERTCTL_TRUSTED_PROXIES: "10.0.0.0/33" }, "CERTCTL_TRUSTED_PROXIES: entry 1"],
    [{ CERTCTL_RATE_LIMIT_RPS: "-1" }, "CERTCTL_RATE_LIMIT_RPS must be above 0"],
    [{ CERTCTL_EST_ENABLED: "true" }, "EST would be open to everybody"],
    [{ ...est, CERTCTL_EST_ISSUER_ID: "iss-none" }, "CERTCTL_EST_ISSUER_ID, iss-none, cannot be used"],
    [{ ...est, CERTCTL_EST_CHANNEL_BINDING_REQUIRED: "true" }, "CERTCTL_EST_CHANNEL_BINDING_REQUIRED cannot be"],
    [{ ...est, CERTCTL_EST_MTLS_ENABLED: "true" }, "CERTCTL_EST_MTLS_CLIENT_CA_TRUST_BUNDLE_PATH must be set"],
    [{ CERTCTL_SCEP_ENABLED: "true" }, "CERTCTL_SCEP_CHALLENGE_PASSWORD must be set"],
    [{ ...scep, CERTCTL_SCEP_ISSUER_ID: "iss-none" }, "CERTCTL_SCEP_ISSUER_ID, iss-none, cannot be used"],
    [{ ...scep, CERTCTL_SCEP_RA_CERT_PATH: "/nowhere/ra.pem" }, "CERTCTL_SCEP_RA_KEY_PATH must be set together"],
    [
      { ...scep, CERTCTL_SCEP_RA_CERT_PATH: "/nowhere/ra.pem", CERTCTL_SCEP_RA_KEY_PATH: "/nowhere/ra.key" },
      "SCEP RA: cannot read /nowhere/ra.pem",
    ],
  ]
  for (const [env, words] of bad) {
    test(`with ${JSON.stringify(env)}`, async () => {
      stage = openStage()
      const line = await refusal(env)
      expect(line).toContain(words)
      expect(line).not.toContain("secret-of-ours")
    })
  }

  test("with a certificate and a key that do not belong together", async () => {
    stage = openStage()
    const { certPath, otherKeyPath } = await pair()
    const line = await refusal({ CERTCTL_SERVER_TLS_CERT_PATH: certPath, CERTCTL_SERVER_TLS_KEY_PATH: otherKeyPath })
    expect(line).toContain("the key does not belong to the certificate")
  })

  test("with a CA on disk that is none, or whose key is another's", async () => {
    stage = openStage()
    const { certPath, keyPath, otherKeyPath } = await pair()
    for (const key of [keyPath, otherKeyPath]) {
      expect(await refusal({ CERTCTL_CA_CERT_PATH: certPath, CERTCTL_CA_KEY_PATH: key })).toContain(`with ${key} as CA`)
    }
  })

  test.each([
    ["has expired", -3, -1, "expired on"],
    ["is not yet valid", 1, 3, "is not valid before"],
  ])("with a CA on disk that %s", async (_state, fromDays, untilDays, words) => {
    stage = openStage()
    const at = (days: number) => new Date(Date.now() + days * 86_400_000)
    const ca = await createRootAuthority({
      keyType: "ecdsa-p256",
      commonName: "A CA of another time",
      notBefore: at(fromDays),
      notAfter: at(untilDays),
    })
    const [certPath, keyPath] = [stage.at("ca.pem"), stage.at("ca.key")]
    writeFileSync(certPath, ca.certPem)
    writeFileSync(keyPath, privateKeyPem(ca.privateKey), { mode: 0o600 })
    expect(await refusal({ CERTCTL_CA_CERT_PATH: certPath, CERTCTL_CA_KEY_PATH: keyPath })).toContain(words)
  })

  test("with a CA on disk that may not sign certificates, or whose key is of another CA", async () => {
    stage = openStage()
    const paths = { CERTCTL_CA_CERT_PATH: stage.at("ca.pem"), CERTCTL_CA_KEY_PATH: stage.at("ca.key") }
    const makeCa = async (name: string, usage: string): Promise<void> => {
      const of = [
        "-subj",
        "/CN=A CA",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        `keyUsage=critical,${usage}`,
      ]
      const files = ["-keyout", stage.at(`${name}.key`), "-out", stage.at(`${name}.pem`)]
      const made = stage.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", ...of, ...files],
        { name: `openssl-${name}` },
      )
      expect(await made.exited).toBe(0)
    }
    await makeCa("ca", "cRLSign")
    expect(await refusal(paths)).toContain("does not allow signing certificates (keyCertSign)")
    await makeCa("other", "keyCertSign")
    const ofAnother = { ...paths, CERTCTL_CA_CERT_PATH: stage.at("other.pem") }
    expect(await refusal(ofAnother)).toContain("the private key does not belong to it")
  })

  test("on a database that it cannot migrate, which stays as it is", async () => {
    stage = openStage()
    const file = stage.at("foreign.db")
    const foreign = new Database(file)
    foreign.run("create table teams (id text primary key)")
    foreign.close()
    expect(await refusal({ CERTCTL_DATABASE_URL: `sqlite:${file}` })).toContain("migration 0000_init (up) failed")
    const after = new Database(file, { readonly: true })
    expect(after.query("select name from sqlite_schema where name in ('teams', 'owners')").all()).toEqual([
      { name: "teams" },
    ])
    after.close()
  })

  test("on a port that is in use", async () => {
    stage = openStage()
    using other = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() })
    const program = stage.run([executable, "server"], {
      env: { CERTCTL_DATA_DIR: stage.at("late"), CERTCTL_SERVER_PORT: String(other.port), CERTCTL_LOG_LEVEL: "error" },
      name: "late-server",
    })
    expect(await program.exited).toBe(1)
    expect(program.stderr()).toBe(
      `certctl: cannot listen on 127.0.0.1:${other.port} (CERTCTL_SERVER_HOST, CERTCTL_SERVER_PORT): the port is in use, perhaps by another certctl server\n`,
    )
  })

  test("on the data directory of another one, and the other one goes on", async () => {
    stage = openStage()
    const server = await serverProcess(stage)
    await server.start()
    expect(await refusal({}, server.dataDir)).toContain(server.dataDir)
    expect((await server.call("GET", "/ready")).status).toBe(200)

    // Once it is killed, nothing of it is left to keep the next one out.
    await server.kill()
    await server.start()
    expect((await server.call("GET", "/api/v1/auth/check")).status).toBe(200)
  })

  test("with another encryption key than the one the rows were sealed with", async () => {
    stage = openStage()
    const server = await serverProcess(stage)
    await server.start()
    await server.stop()
    const line = await refusal({ CERTCTL_CONFIG_ENCRYPTION_KEY: encryptionKey }, server.dataDir)
    expect(line).toContain("CERTCTL_CONFIG_ENCRYPTION_KEY")
    rmSync(`${server.dataDir}/encryption-key`)
    expect(await refusal({}, server.dataDir)).toContain("encryption-key is missing")
  })

  test("with a data directory that cannot be written", async () => {
    stage = openStage()
    mkdirSync(stage.at("read-only"))
    chmodSync(stage.at("read-only"), 0o500)
    // Permissions do not bind root: a file in place of the folder does.
    writeFileSync(stage.at("read-only", "data"), "")
    expect(await refusal({}, stage.at("read-only", "data"))).toContain("is not writable (CERTCTL_DATA_DIR)")
  })
})

describe("on PostgreSQL the server does not start", () => {
  beforeAll(prepareTestPostgres, prepareLimitMs)

  test("with another encryption key than its neighbours", async () => {
    const scene = await postgresScene()
    stage = scene.stage
    const server = await serverProcess(stage, { env: scene.env })
    await server.start()
    const env = { ...scene.env, CERTCTL_CONFIG_ENCRYPTION_KEY: `${encryptionKey} or so` }
    expect(await refusal(env)).toContain("CERTCTL_CONFIG_ENCRYPTION_KEY")
    expect((await server.call("GET", "/ready")).status).toBe(200)
  })
})
