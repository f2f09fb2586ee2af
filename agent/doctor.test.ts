import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
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
  running?: FakeServer,
) => {
  fake = running ?? (await startFakeServer(options))
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
  expect(of("targets")).toMatchObject({ status: "ok", detail: "none is assigned to this agent" })
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

  test("a target of its own whose check fails, in the connector's words, and nothing is written", async () => {
    fake = await startFakeServer()
    const good = { cert_path: join(folder, "site.pem"), validate_command: "true" }
    fake.addTarget("tgt-good", "mc-1", "NGINX", good)
    fake.addTarget("tgt-bad", "mc-1", "NGINX", { ...good, validate_command: "no-such-program -t" })
    fake.addTarget("tgt-masked", "mc-1", "NGINX", { ...good, key_path: "********" })
    fake.addTarget("tgt-new", "mc-1", "Teapot", { password: "hunter2" })
    const { findings } = await examined({}, {}, {}, fake)
    expect(findings.filter(({ check }) => check === "target").map(({ status, detail }) => [status, detail])).toEqual([
      ["ok", "at tgt-good tgt-good (NGINX): its check found nothing wrong"],
      ["fail", expect.stringContaining("program no-such-program was not found")],
      ["skip", expect.stringContaining("its secrets are for the agent's own key only")],
      ["fail", expect.stringContaining("Teapot")],
    ])
    expect(readdirSync(folder)).toEqual(["data"])
    expect(fake.requests(/(work|heartbeat|status)$/)).toEqual([])
    expect(JSON.stringify(findings)).not.toContain("hunter2")
  })

  test("a server that is too old to list targets is no failure", async () => {
    const { of, failed } = await examined({}, {}, { style: "old" })
    expect(of("targets")).toMatchObject({ status: "skip", detail: "the server is too old to list an agent's targets" })
    expect(failed).toEqual([])
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
