import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer } from "node:tls"
import { runAgent } from "../src/commands/agent"
import { prepareDataDirectory } from "../src/data-directory"
import { parseCsr } from "../src/pki/csr"
import { generateKey, keysMatch, privateKeyPem, readPrivateKey } from "../src/pki/keys"
import { certificateBlocks } from "../src/pki/pem"
import { until } from "../src/testing/until"
import { agentProcess } from "./agent"
import { agentConfig } from "./agent.config"
import { type FakeServer, type FakeServerOptions, startFakeServer, testAuthority, testLeaf } from "./agent-server.fake"
import { writeIdentity } from "./identity"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

let folder: string
let fake: FakeServer
let stop: AbortController
let ended: Promise<void>

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-agent-"))
  stop = new AbortController()
})

afterEach(async () => {
  stop.abort()
  await ended
  await fake.stop()
  rmSync(folder, { recursive: true })
})

/** The promise is the agent's end, wrapped: awaiting it bare would wait for that. */
const start = async (options: FakeServerOptions = {}, env: Record<string, string> = {}) => {
  fake = await startFakeServer(options)
  return { running: startAgent(env) }
}

const startAgent = (env: Record<string, string> = {}) => {
  const config = agentConfig(
    {
      CERTCTL_SERVER_URL: fake.url,
      CERTCTL_AGENT_ID: fake.agentId,
      CERTCTL_API_KEY: fake.apiKey,
      CERTCTL_DATA_DIR: join(folder, "data"),
      CERTCTL_AGENT_POLL_INTERVAL: "100ms",
      CERTCTL_AGENT_HEARTBEAT_INTERVAL: "100ms",
      CERTCTL_AGENT_BACKOFF_UNIT: "30ms",
      CERTCTL_VERIFY_DELAY: "0",
      ...env,
    },
    (line) => {
      throw new Error(line)
    },
  )
  ended = agentProcess(config, stop.signal)
  return ended
}

const keys = (name: string) => join(folder, "data", "keys", name)
const statusOf = (jobId: string) => fake.state.jobs.find(({ id }) => id === jobId)
/** What the agent last said of a job. */
const lastReportOf = (jobId: string) =>
  fake.state.seen.findLast(({ path }) => path.endsWith(`/jobs/${jobId}/status`))?.body
const allCompleted = () => fake.state.jobs.length > 0 && fake.state.jobs.every(({ status }) => status === "Completed")

/** A target whose commands always succeed. */
const addFileTarget = (targetId: string, certificateId: string, extra: Record<string, unknown> = {}) =>
  fake.addTarget(targetId, certificateId, "NGINX", {
    cert_path: join(folder, `${targetId}.pem`),
    key_path: join(folder, `${targetId}.key`),
    validate_command: "true",
    reload_command: "true",
    ...extra,
  })

const isPair = (targetId: string) =>
  keysMatch(
    readPrivateKey(readFileSync(join(folder, `${targetId}.key`), "utf8")),
    certificateBlocks(readFileSync(join(folder, `${targetId}.pem`), "utf8"))[0] ?? Buffer.alloc(0),
  )

for (const style of ["old", "new"] as const) {
  describe(`against a server of the ${style} style`, () => {
    test("beats, answers a CSR job and deploys what was signed", async () => {
      const { running } = await start({ style })
      await until("the first poll", () => fake.requests(/work$/).length > 0)
      addFileTarget("tgt-1", "mc-api")
      fake.addCsrJob("mc-api", "api.example.com", ["api.example.com", "ops@example.com"])
      await until("both jobs complete", () => fake.state.jobs.length === 2 && allCompleted())

      expect(isPair("tgt-1")).toBe(true)
      expect(certificateBlocks(readFileSync(join(folder, "tgt-1.pem"), "utf8"))).toHaveLength(2)
      expect(statSync(join(folder, "tgt-1.key")).mode & 0o777).toBe(0o600)
      expect(readdirSync(join(folder, "data", "keys"))).toEqual(["mc-api.key"])
      expect(statSync(keys("mc-api.key")).mode & 0o777).toBe(0o600)
      expect(statSync(join(folder, "data", "keys")).mode & 0o777).toBe(0o700)
      expect(readdirSync(join(folder, "data", "deployments"))).toEqual([])
      expect(fake.state.seen[0]?.path).toEndWith("/heartbeat")
      expect(fake.state.seen[0]?.body).toMatchObject({ os: process.platform, architecture: expect.any(String) })
      stop.abort()
      await running
    })

    test("serves one certificate on two targets with one key, and keeps the replaced key", async () => {
      await start({ style })
      await until("the first poll", () => fake.requests(/work$/).length > 0)
      addFileTarget("tgt-1", "mc-api")
      addFileTarget("tgt-2", "mc-api")
      fake.addCsrJob("mc-api", "api.example.com")
      await until("all jobs complete", () => fake.state.jobs.length === 3 && allCompleted())
      const firstKey = readFileSync(keys("mc-api.key"), "utf8")
      expect(readFileSync(join(folder, "tgt-2.key"), "utf8")).toBe(firstKey)

      fake.addCsrJob("mc-api", "api.example.com")
      await until("the renewal completes", () => fake.state.jobs.length === 6 && allCompleted())
      expect(isPair("tgt-1")).toBe(true)
      expect(isPair("tgt-2")).toBe(true)
      expect(readFileSync(keys("mc-api.key.prev"), "utf8")).toBe(firstKey)
      expect(readFileSync(keys("mc-api.key"), "utf8")).not.toBe(firstKey)
    })
  })
}

test("an old server that answers every poll at once is asked once an interval", async () => {
  await start({ style: "old" }, { CERTCTL_AGENT_POLL_INTERVAL: "1h" })
  await until("five heartbeats", () => fake.requests(/heartbeat$/).length >= 5)
  expect(fake.requests(/work$/)).toHaveLength(1)
})

test("a server that holds polls delivers at once", async () => {
  await start({}, { CERTCTL_AGENT_POLL_INTERVAL: "1h" })
  await until("a held poll", () => fake.state.pollsWaiting === 1)
  addFileTarget("tgt-1", "mc-api")
  fake.addCsrJob("mc-api", "api.example.com")
  await until("both jobs complete", () => fake.state.jobs.length === 2 && allCompleted())
  expect(fake.requests(/work$/)[0]?.query).toBe("?wait=25&holding=")
})

test("the same job offered again and again does not make it spin", async () => {
  fake = await startFakeServer()
  fake.addJob({ type: "Unheard-of", certificateId: "mc-api", status: "AwaitingCSR", commonName: "api.example.com" })
  // The job stays AwaitingCSR however often the CSR is "accepted".
  fake.interfere(/csr$/, 202, 1000, { body: '{"status":"csr_accepted"}' })
  startAgent({ CERTCTL_AGENT_POLL_INTERVAL: "1h" })
  await until("ten heartbeats", () => fake.requests(/heartbeat$/).length >= 10)
  expect(fake.requests(/work$/).length).toBeLessThanOrEqual(2)
})

test("a retired agent ends by itself, after one more word to the server", async () => {
  const { running } = await start()
  await until("a held poll", () => fake.state.pollsWaiting === 1)
  fake.state.isRetired = true
  fake.wake()
  await running
})

test("an agent that is retired at its first heartbeat asks for no work that is handed out", async () => {
  fake = await startFakeServer()
  fake.state.isRetired = true
  await startAgent()
  expect(fake.requests(/work$/)).toHaveLength(0)
})

for (const status of [401, 404, 429, 500, 502, 503]) {
  test(`backs off while the server answers ${status}, then goes on`, async () => {
    fake = await startFakeServer()
    fake.interfere(/(heartbeat|work)$/, status, 4, { body: "<html>not JSON</html>" })
    startAgent()
    await until("a held poll", () => fake.state.pollsWaiting === 1)
  })
}

test("an answer that is not the protocol counts as a failure", async () => {
  fake = await startFakeServer()
  fake.interfere(/work$/, 200, 1, { body: '{"jobs":[],"count":7}' })
  fake.interfere(/work$/, 200, 1, { body: "welcome to the hotel" })
  startAgent()
  await until("a held poll", () => fake.state.pollsWaiting === 1)
  expect(fake.requests(/work$/).length).toBeGreaterThanOrEqual(3)
})

describe("a CSR", () => {
  for (const status of [429, 502, 503, 504]) {
    test(`is sent again, byte for byte, after ${status}`, async () => {
      fake = await startFakeServer()
      addFileTarget("tgt-1", "mc-api")
      fake.interfere(/csr$/, status, 2, { headers: { "retry-after": "0" } })
      fake.addCsrJob("mc-api", "api.example.com")
      startAgent()
      await until("both jobs complete", () => fake.state.jobs.length === 2 && allCompleted())
      const sent = fake.requests(/csr$/).map(({ body }) => JSON.stringify(body))
      expect(sent).toHaveLength(3)
      expect(new Set(sent).size).toBe(1)
    })
  }

  test("whose answer was lost is sent again, and nothing is issued twice", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-1", "mc-api")
    fake.interfere(/csr$/, 503, 1, { isHandled: true })
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("the deployment completes", () => fake.state.jobs.length === 2 && allCompleted())
    expect(fake.requests(/csr$/)).toHaveLength(2)
    expect(fake.state.versions).toHaveLength(1)
    expect(isPair("tgt-1")).toBe(true)
  })

  test("whose names have changed since is made anew for the staged key", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-1", "mc-api")
    fake.interfere(/csr$/, 500, 1)
    const failed = fake.addCsrJob("mc-api", "old.example.com")
    startAgent()
    await until("the job failed", () => statusOf(failed.id)?.status === "Failed")
    fake.addCsrJob("mc-api", "new.example.com", ["new.example.com"])
    await until("the deployment completed", () => fake.state.jobs.at(-1)?.status === "Completed")
    const csrs = fake.requests(/csr$/).map(({ body }) => parseCsr((body as { csr_pem: string }).csr_pem))
    expect(csrs.map(({ commonName }) => commonName)).toEqual(["old.example.com", "new.example.com"])
    expect(csrs[0]?.spkiDer).toEqual(csrs[1]?.spkiDer as Buffer)
  })

  test("that is refused costs the staged pair and nothing else", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-1", "mc-api")
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("the first one is deployed", () => fake.state.jobs.length === 2 && allCompleted())
    const key = readFileSync(keys("mc-api.key"), "utf8")

    fake.interfere(/csr$/, 400, 1, { body: '{"error":"Bad Request","message":"the profile wants RSA"}' })
    const refused = fake.addCsrJob("mc-api", "api.example.com")
    await until("the job failed", () => statusOf(refused.id)?.status === "Failed")
    expect(statusOf(refused.id)?.error).toContain("the profile wants RSA")
    expect(readdirSync(join(folder, "data", "keys"))).toEqual(["mc-api.key"])
    expect(readFileSync(keys("mc-api.key"), "utf8")).toBe(key)
    expect(isPair("tgt-1")).toBe(true)
  })

  test("that the issuer failed is not repeated, and its key waits for the next job", async () => {
    fake = await startFakeServer()
    fake.interfere(/csr$/, 500, 1, { body: '{"error":"Internal Server Error","message":"issuer failed"}' })
    const job = fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("the job failed", () => statusOf(job.id)?.status === "Failed")
    expect(fake.requests(/csr$/)).toHaveLength(1)
    expect(readdirSync(join(folder, "data", "keys")).sort()).toEqual(["mc-api.csr.next", "mc-api.key.next"])
  })

  test("for a certificate with a dangerous id stays inside the key folder", async () => {
    fake = await startFakeServer()
    const job = fake.addCsrJob("../../etc/cron.d/x", "api.example.com")
    startAgent()
    await until("the job ended", () => statusOf(job.id)?.status === "Completed")
    expect(readdirSync(join(folder, "data", "keys")).sort()).toEqual([
      expect.stringMatching(/^[0-9a-f]{64}\.csr\.next$/),
      expect.stringMatching(/^[0-9a-f]{64}\.key\.next$/),
    ])
  })
})

describe("a deployment", () => {
  test("without a key says that the certificate must be renewed", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-1", "mc-api")
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("it is deployed", () => fake.state.jobs.length === 2 && allCompleted())

    rmSync(keys("mc-api.key"))
    const lost = fake.addDeployment("tgt-1")
    await until("it failed", () => statusOf(lost.id)?.status === "Failed")
    expect(statusOf(lost.id)?.error).toStartWith("key read failed: no private key of mc-api")

    writeFileSync(keys("mc-api.key"), privateKeyPem(await generateKey("ecdsa-p256")))
    const foreign = fake.addDeployment("tgt-1")
    await until("it failed too", () => statusOf(foreign.id)?.status === "Failed")
    expect(statusOf(foreign.id)?.error).toContain("none of the 1 keys of mc-api")
  })

  test("of what is there already reloads nothing", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-1", "mc-api")
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("it is deployed", () => fake.state.jobs.length === 2 && allCompleted())

    addFileTarget("tgt-1", "mc-api", { reload_command: "false" })
    const again = fake.addDeployment("tgt-1")
    await until("it completed", () => statusOf(again.id)?.status === "Completed")
    expect(lastReportOf(again.id)).toEqual({ status: "Completed", deployment: { idempotent: true } })
    expect(readdirSync(folder).filter((name) => name.includes("certctl-bak"))).toEqual([])
  })

  test("that fails leaves files and keys as they were, and succeeds once the cause is gone", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-1", "mc-api")
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("it is deployed", () => fake.state.jobs.length === 2 && allCompleted())
    const before = readFileSync(join(folder, "tgt-1.pem"), "utf8")
    const key = readFileSync(keys("mc-api.key"), "utf8")

    addFileTarget("tgt-1", "mc-api", { validate_command: "ls /does-not-exist" })
    fake.addCsrJob("mc-api", "api.example.com")
    await until("the deployment failed", () => fake.state.jobs.at(-1)?.status === "Failed")
    expect(fake.state.jobs.at(-1)?.error).toContain("/does-not-exist")
    expect(fake.state.jobs.at(-1)?.error).toContain("the previous files were restored")
    expect(lastReportOf(fake.state.jobs.at(-1)?.id ?? "")).toMatchObject({
      status: "Failed",
      deployment: { failed_step: "validate", rollback: "restored" },
    })
    expect(readFileSync(join(folder, "tgt-1.pem"), "utf8")).toBe(before)
    expect(readFileSync(keys("mc-api.key"), "utf8")).toBe(key)
    expect(existsSync(keys("mc-api.key.next"))).toBe(true)

    addFileTarget("tgt-1", "mc-api")
    const retry = fake.addDeployment("tgt-1")
    await until("the retry completed", () => statusOf(retry.id)?.status === "Completed")
    expect(lastReportOf(retry.id)).toEqual({ status: "Completed" })
    expect(isPair("tgt-1")).toBe(true)
    expect(readFileSync(keys("mc-api.key.prev"), "utf8")).toBe(key)
  })

  test("of a certificate without the name that its target is asked for touches nothing", async () => {
    await start()
    addFileTarget("tgt-1", "mc-api", { verify_server_name: "shop.example.com", post_deploy_verify: { enabled: false } })
    fake.addCsrJob("mc-api", "api.example.com", ["api.example.com", "*.shop.example.com"])
    await until("the deployment has failed", () => fake.state.jobs[1]?.status === "Failed")
    expect(fake.state.jobs[1]?.error).toContain("the certificate is not for shop.example.com")
    expect(existsSync(join(folder, "tgt-1.pem"))).toBe(false)
    addFileTarget("tgt-1", "mc-api", { verify_server_name: "www.shop.example.com" })
    fake.addDeployment("tgt-1", fake.state.versions.at(-1)?.id)
    await until("the other one is deployed", () => fake.state.jobs[2]?.status === "Completed")
  })

  test("of an unknown type names the types this agent knows", async () => {
    fake = await startFakeServer()
    fake.addTarget("tgt-1", "mc-api", "Abacus", {})
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("it failed", () => fake.state.jobs[1]?.status === "Failed")
    expect(fake.state.jobs[1]?.error).toMatch(/^connector init failed: type must be one of .*NGINX/)
  })

  test("reports what the endpoint serves, also when that is something else", async () => {
    fake = await startFakeServer({ hasTls: true })
    const config = agentConfig({ CERTCTL_API_KEY: fake.apiKey, CERTCTL_AGENT_ID: fake.agentId }, () => undefined)
    expect(config.server).toBe("https://localhost:8443")
    addFileTarget("tgt-1", "mc-api", {
      verify_host: "127.0.0.1",
      verify_port: fake.port,
      post_deploy_verify: { enabled: false },
    })
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent({ CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY: "true" })
    await until("it is deployed", () => fake.state.jobs.length === 2 && allCompleted())
    expect(fake.state.verifications).toHaveLength(1)
    expect(fake.state.verifications[0]).toMatchObject({ target_id: "tgt-1", verified: false, error: "" })
  })
})

test("looks again where a process of before the reload answers first", async () => {
  fake = await startFakeServer()
  const old = await testLeaf(await testAuthority(), ["api.example.com"])
  const deployed = (kind: "pem" | "key") => readFileSync(join(folder, `tgt-1.${kind}`), "utf8")
  let looks = 0
  const endpoint = createServer({ cert: old.certPem, key: old.keyPem }).on("connection", () => {
    // The handshake of this connection has its certificate by then.
    if (looks++ === 0) setImmediate(() => endpoint.setSecureContext({ cert: deployed("pem"), key: deployed("key") }))
  })
  await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve))
  try {
    addFileTarget("tgt-1", "mc-api", {
      verify_host: "127.0.0.1",
      verify_port: (endpoint.address() as AddressInfo).port,
      post_deploy_verify: { enabled: false },
    })
    fake.addCsrJob("mc-api", "api.example.com")
    startAgent()
    await until("it is deployed", () => fake.state.jobs.length === 2 && allCompleted())
    expect(looks).toBe(2)
    expect(fake.state.verifications).toMatchObject([{ target_id: "tgt-1", verified: true, error: "" }])
  } finally {
    endpoint.close()
  }
})

test("hands the job in hand to its end when it is asked to stop, and takes no other", async () => {
  fake = await startFakeServer()
  const gate = join(folder, "gate")
  addFileTarget("tgt-1", "mc-api", { reload_command: `sh ${join(folder, "wait.sh")}` })
  writeFileSync(join(folder, "wait.sh"), `touch ${gate}.reached; while [ ! -e ${gate} ]; do sleep 0.02; done`)
  fake.addCsrJob("mc-api", "api.example.com")
  const running = startAgent()
  await until("the reload runs", () => existsSync(`${gate}.reached`))
  const beats = fake.requests(/heartbeat$/).length
  await until("it beats meanwhile", () => fake.requests(/heartbeat$/).length >= beats + 2)
  stop.abort()
  writeFileSync(gate, "")
  await running
  expect(fake.state.jobs[1]?.status).toBe("Completed")
  expect(isPair("tgt-1")).toBe(true)
})

test("a second agent with the same data directory refuses to start", async () => {
  await start()
  await until("a held poll", () => fake.state.pollsWaiting === 1)
  const first = ended
  await expect(startAgent()).rejects.toThrow("in use by another certctl agent")
  ended = first
})

test("kill -9 again and again: every job ends well, nothing is issued twice, pair and keys fit", async () => {
  fake = await startFakeServer()
  ended = Promise.resolve()
  addFileTarget("tgt-1", "mc-api")
  addFileTarget("tgt-2", "mc-api")
  const spawn = () =>
    Bun.spawn(
      [
        process.execPath,
        "-e",
        `import { runAgent } from ${JSON.stringify(join(import.meta.dir, "../src/commands/agent.ts"))}
         console.log("started")
         process.exit(await runAgent(process.env))`,
      ],
      {
        stdout: "pipe",
        stderr: "ignore",
        env: {
          PATH: process.env.PATH ?? "",
          CERTCTL_SERVER_URL: fake.url,
          CERTCTL_AGENT_ID: fake.agentId,
          CERTCTL_API_KEY: fake.apiKey,
          CERTCTL_DATA_DIR: join(folder, "data"),
          CERTCTL_AGENT_POLL_INTERVAL: "100ms",
          CERTCTL_AGENT_BACKOFF_UNIT: "30ms",
        },
      },
    )
  const rounds = 12
  for (let round = 0; round < rounds; round++) {
    fake.addCsrJob("mc-api", "api.example.com")
    const child = spawn()
    await child.stdout.getReader().read()
    await Bun.sleep(Math.random() * 120)
    child.kill(9)
    await child.exited
  }
  const last = spawn()
  await until("all jobs complete", allCompleted)
  last.kill("SIGTERM")
  expect(await last.exited).toBe(0)
  expect(fake.state.versions).toHaveLength(rounds)
  expect(isPair("tgt-1")).toBe(true)
  expect(isPair("tgt-2")).toBe(true)
  expect(readFileSync(join(folder, "tgt-1.pem"), "utf8")).toContain(
    fake.state.versions.at(-1)?.chainPem.split("\n")[1] ?? "no version",
  )
  expect(readFileSync(keys("mc-api.key"), "utf8")).toBe(readFileSync(join(folder, "tgt-1.key"), "utf8"))
  expect(readdirSync(join(folder, "data", "keys")).every((name) => !name.includes("next"))).toBe(true)
})

test("a joined agent needs no settings, and a retired one ends with code 0", async () => {
  fake = await startFakeServer()
  ended = Promise.resolve()
  fake.state.isRetired = true
  prepareDataDirectory(join(folder, "data"))
  writeIdentity(join(folder, "data"), {
    server: fake.url,
    agent_id: fake.agentId,
    name: "web1",
    api_key: fake.apiKey,
    ca_pem: null,
    is_ca_pinned: false,
  })
  expect(await runAgent({ CERTCTL_DATA_DIR: join(folder, "data"), CERTCTL_LOG_LEVEL: "error" })).toBe(0)
})

describe("many jobs", () => {
  test("are worked on side by side, one at a time for each target", async () => {
    fake = await startFakeServer()
    const log = join(folder, "log")
    const script = join(folder, "slow.sh")
    writeFileSync(script, '#!/bin/sh\necho "$1 begins" >> "$2"\nsleep 0.3\necho "$1 ends" >> "$2"\n', { mode: 0o755 })
    for (const name of ["a", "b", "c"]) {
      addFileTarget(`tgt-${name}`, `mc-${name}`, { validate_command: `${script} ${name} ${log}` })
      fake.addCsrJob(`mc-${name}`, `${name}.example.com`)
    }
    startAgent()
    await until("all complete", () => fake.state.jobs.length === 6 && allCompleted())
    const lines = readFileSync(log, "utf8").trim().split("\n")
    // Had they waited for each other, every line but the first would end what the one before began.
    expect(lines.slice(0, 3).filter((line) => line.endsWith("begins")).length).toBeGreaterThan(1)
  })

  test("in hand are never more than a poll can name", async () => {
    fake = await startFakeServer()
    addFileTarget("tgt-0", "mc-0")
    fake.addCsrJob("mc-0", "a.example.com")
    startAgent({ CERTCTL_AGENT_PARALLEL_JOBS: "3" })
    await until("the first one is deployed", () => fake.state.jobs.length === 2 && allCompleted())
    for (let i = 1; i <= 120; i++) {
      addFileTarget(`tgt-${i}`, "mc-0")
      fake.addDeployment(`tgt-${i}`)
    }
    await until("all complete", () => fake.state.jobs.length === 122 && allCompleted())
    for (const { query } of fake.requests(/work$/)) {
      const held = new URLSearchParams(query).get("holding")?.split(",") ?? []
      expect(held.length).toBeLessThanOrEqual(100)
    }
    const completions = fake.state.seen.filter(({ body }) => (body as { status?: string })?.status === "Completed")
    expect(completions).toHaveLength(121)
  })
})

test("what the server could not hear is told when it is back, and the job is not done again", async () => {
  fake = await startFakeServer()
  addFileTarget("tgt-1", "mc-api")
  fake.interfere(/status$/, 503, 3)
  fake.addCsrJob("mc-api", "api.example.com")
  startAgent()
  await until("the deployment completes", () => fake.state.jobs.length === 2 && allCompleted())
  await until("nothing is left to tell", () => readdirSync(join(folder, "data", "outbox")).length === 0)
  expect(fake.requests(/certificates\/mc-api$/)).toHaveLength(1)
})
