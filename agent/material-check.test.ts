/**
 * A pair that does not match never gets to a target: half of the servers take one without a word and fall over at their next
 * restart. The check is before any connector, so this holds for every one of them.
 */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { generateKey, privateKeyPem } from "../src/pki/keys"
import { until } from "../src/testing/until"
import { agentProcess } from "./agent"
import { agentConfig } from "./agent.config"
import { type FakeServer, startFakeServer, testAuthority, testLeaf } from "./agent-server.fake"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

let folder: string
let fake: FakeServer
let stop: AbortController
let ended: Promise<void>
const at = (...names: string[]) => join(folder, ...names)

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "certctl-material-"))
  mkdirSync(at("tls"))
  stop = new AbortController()
  fake = await startFakeServer()
  const env = {
    CERTCTL_SERVER_URL: fake.url,
    CERTCTL_AGENT_ID: fake.agentId,
    CERTCTL_API_KEY: fake.apiKey,
    CERTCTL_DATA_DIR: at("data"),
    CERTCTL_AGENT_POLL_INTERVAL: "100ms",
    CERTCTL_AGENT_BACKOFF_UNIT: "30ms",
    CERTCTL_VERIFY_DELAY: "0",
  }
  const config = agentConfig(env, (line) => {
    throw new Error(line)
  })
  ended = agentProcess(config, stop.signal)
  fake.addCsrJob("mc-api", "api.example.com")
  await until("there is a certificate", () => fake.state.jobs[0]?.status === "Completed")
})

afterEach(async () => {
  stop.abort()
  await ended
  await fake.stop()
  rmSync(folder, { recursive: true })
})

/** Deploys to every target that writes files or sends what it has elsewhere, and returns each one's error. */
const deployEverywhere = async (): Promise<[type: string, error: string | undefined][]> => {
  const commands = { validate_command: `touch ${at("validated")}`, reload_command: `touch ${at("reloaded")}` }
  const paths = { cert_path: at("tls/cert.pem"), key_path: at("tls/key.pem"), ...commands }
  const cert_dir = at("tls")
  const targets: [type: string, config: Record<string, unknown>][] = [
    ["NGINX", paths],
    ["Apache", paths],
    ["HAProxy", { pem_path: at("tls/site.pem"), ...commands }],
    ["Postfix", paths],
    ["Dovecot", paths],
    ["Traefik", { cert_dir }],
    ["Envoy", { cert_dir, sds_config: true }],
    ["Caddy", { mode: "file", cert_dir, reload_command: commands.reload_command }],
    // Nothing listens there: had it been asked, the error would say so.
    ["Caddy", { admin_api: "http://127.0.0.1:1" }],
  ]
  const errors: [string, string | undefined][] = []
  for (const [index, [type, config]] of targets.entries()) {
    const targetId = `tgt-${index}-${fake.state.jobs.length}`
    fake.addTarget(targetId, "mc-api", type, config)
    const job = fake.addDeployment(targetId)
    await until(`${type} has failed`, () => fake.state.jobs.find(({ id }) => id === job.id)?.status === "Failed")
    errors.push([type, fake.state.jobs.find(({ id }) => id === job.id)?.error])
  }
  return errors
}

const expectUntouched = () => {
  expect(readdirSync(at("tls"))).toEqual([])
  expect([existsSync(at("validated")), existsSync(at("reloaded"))]).toEqual([false, false])
}

test("a key of another certificate is refused by every target before anything is written", async () => {
  for (const name of readdirSync(at("data/keys"))) rmSync(at("data/keys", name))
  writeFileSync(at("data/keys/mc-api.key"), privateKeyPem(await generateKey("ecdsa-p256")))
  for (const [type, error] of await deployEverywhere()) {
    expect([type, error]).toEqual([type, expect.stringContaining("none of the 1 keys of mc-api")])
  }
  expectUntouched()
})

test("so are a key that cannot be read, a garbled certificate and a chain of somebody else", async () => {
  const failingWith = async (certificate_pem: string, words: RegExp) => {
    fake.interfere(/\/certificates\/mc-api$/, 200, 9, { body: JSON.stringify({ certificate_pem }) })
    for (const [type, error] of await deployEverywhere())
      expect([type, error]).toEqual([type, expect.stringMatching(words)])
  }
  const leaf = await testLeaf(await testAuthority(), ["api.example.com"])
  await failingWith("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /^cert fetch failed: /)
  await failingWith(leaf.certPem + leaf.certPem, /^cert fetch failed: the chain is out of order/)
  for (const name of readdirSync(at("data/keys"))) writeFileSync(at("data/keys", name), "no key")
  for (const [type, error] of await deployEverywhere()) {
    expect([type, error]).toEqual([type, expect.stringContaining("key read failed")])
  }
  expectUntouched()
})
