import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { generateKey, privateKeyPem } from "../src/pki/keys"
import { type FakeServer, type FakeServerOptions, startFakeServer } from "./agent-server.fake"
import { examine } from "./doctor"

setDefaultTimeout(30_000)

let folder: string
let fake: FakeServer

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-doctor-"))
  mkdirSync(join(folder, "data/keys"), { recursive: true })
  for (const path of ["data", "data/keys"]) chmodSync(join(folder, path), 0o700)
})
afterEach(async () => {
  await fake?.stop()
  rmSync(folder, { recursive: true })
})

const examined = async (
  env: Record<string, string> = {},
  { targetConfigs = [], now = () => new Date() }: { targetConfigs?: string[]; now?: () => Date } = {},
  options: FakeServerOptions = {},
) => {
  fake = await startFakeServer(options)
  const settings = {
    CERTCTL_SERVER_URL: fake.url,
    CERTCTL_AGENT_ID: fake.agentId,
    CERTCTL_API_KEY: fake.apiKey,
    CERTCTL_DATA_DIR: join(folder, "data"),
    ...env,
  }
  const findings = await examine({ env: settings, clock: { now }, targetConfigs })
  return {
    findings,
    of: (check: string) => findings.find((finding) => finding.check === check),
    failed: findings.filter(({ status }) => status === "fail").map(({ check }) => check),
  }
}

test("of a sound host nothing fails, nothing is claimed and no sign of life is given", async () => {
  writeFileSync(join(folder, "data/keys/mc-1.key"), privateKeyPem(await generateKey("ecdsa-p256")), { mode: 0o600 })
  const { failed, of, findings } = await examined()
  expect(failed).toEqual([])
  expect(of("identity")).toMatchObject({ status: "ok" })
  expect(of("clock")).toMatchObject({ status: "ok" })
  expect(of("keys")).toMatchObject({ status: "ok", detail: "1 key files, not sealed" })
  expect(of("process")).toMatchObject({ status: "warn" })
  expect(of("targets")).toMatchObject({ status: "skip" })
  expect(fake.requests(/(work|heartbeat|status)$/)).toEqual([])
  expect(JSON.stringify(findings)).not.toContain(fake.apiKey)
  for (const { status, help } of findings) if (status === "fail" || status === "warn") expect(help).toBeTruthy()
})

describe("a failure is found and named", () => {
  test("settings that are missing", async () => {
    expect((await examined({ CERTCTL_AGENT_ID: "" })).findings).toMatchObject([{ check: "settings", status: "fail" }])
  })

  test("a server that is away, and one that cannot be looked up", async () => {
    expect((await examined({ CERTCTL_SERVER_URL: "http://127.0.0.1:1" })).failed).toEqual(["server"])
    await fake.stop()
    const env = { CERTCTL_SERVER_URL: "https://nobody.invalid:8443", HTTPS_PROXY: "" }
    expect((await examined(env)).failed).toEqual(["name"])
  })

  test("a server that is not trusted", async () => {
    const { of } = await examined({}, {}, { hasTls: true })
    expect(of("server")).toMatchObject({ status: "fail", detail: expect.stringContaining("not trusted") })
  })

  test("a key that the server refuses", async () => {
    const { of } = await examined({ CERTCTL_API_KEY: "wrong" })
    expect(of("identity")).toMatchObject({ status: "fail", help: "join again" })
  })

  test("a clock that is wrong", async () => {
    const off = (ms: number) => ({ now: () => new Date(Date.now() + ms) })
    expect((await examined({}, off(-120_000))).of("clock")).toMatchObject({ status: "warn" })
    await fake.stop()
    expect((await examined({}, off(600_000))).of("clock")).toMatchObject({ status: "fail" })
  })

  test("folders and keys that others may read, and keys that nobody can", async () => {
    chmodSync(join(folder, "data"), 0o755)
    writeFileSync(join(folder, "data/keys/mc-1.key"), "garbage")
    chmodSync(join(folder, "data/keys/mc-1.key"), 0o644)
    const { failed, findings } = await examined()
    expect(failed).toEqual(["data folder", "keys", "keys"])
    expect(findings.find(({ check }) => check === "data folder")?.help).toBe(`chmod 700 ${join(folder, "data")}`)
  })

  test("journals and reports left over, programs and folders that are missing", async () => {
    for (const name of ["deployments/1.json", "outbox/1.json"]) {
      mkdirSync(join(folder, "data", name, ".."), { recursive: true })
      writeFileSync(join(folder, "data", name), "{}")
    }
    const { of } = await examined({
      CERTCTL_AGENT_ALLOWED_COMMANDS: "true,no-such-program",
      CERTCTL_DISCOVERY_DIRS: join(folder, "nowhere"),
      CERTCTL_SECRETS_DIR: join(folder, "data"),
    })
    expect(of("deployments")).toMatchObject({ status: "warn" })
    expect(of("reports")).toMatchObject({ status: "warn" })
    expect(of("programs")).toMatchObject({ status: "warn", detail: "no-such-program was not found" })
    expect(of("discovery")).toMatchObject({ status: "warn" })
    expect(of("secrets folder")).toMatchObject({ status: "ok" })
  })

  test("a target whose check fails, without a word of its secrets", async () => {
    const target = (name: string, content: string) => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    const config = { cert_path: join(folder, "site.pem"), validate_command: "no-such-program -t" }
    const targetConfigs = [
      target("good.json", JSON.stringify({ type: "NGINX", config: { ...config, validate_command: "true" } })),
      target("bad.json", JSON.stringify({ type: "NGINX", config })),
      target("broken.json", '{"type": "NGINX", "config": {"password": "hunter2"'),
    ]
    const { findings } = await examined({}, { targetConfigs })
    const targets = findings.filter(({ check }) => check === "target")
    expect(targets.map(({ status }) => status)).toEqual(["ok", "fail", "fail"])
    expect(targets[1]?.detail).toContain("no-such-program")
    expect(JSON.stringify(findings)).not.toContain("hunter2")
  })
})
