/** The agent against every answer that a server, or something in between, may give it: it goes on, and loses nothing. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { keysMatch, readPrivateKey } from "../src/pki/keys"
import { certificateBlocks } from "../src/pki/pem"
import { until } from "../src/testing/until"
import { agentProcess } from "./agent"
import { agentConfig } from "./agent.config"
import { type FakeServer, startFakeServer } from "./agent-server.fake"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

let folder: string
let fake: FakeServer
let stop: AbortController
let ended: Promise<void>
let hasEnded: boolean

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-wire-"))
  stop = new AbortController()
})

afterEach(async () => {
  stop.abort()
  await ended
  await fake.stop()
  rmSync(folder, { recursive: true })
})

const start = async (style: "old" | "new", env: Record<string, string> = {}): Promise<void> => {
  fake = await startFakeServer({ style })
  const settings = {
    CERTCTL_SERVER_URL: fake.url,
    CERTCTL_AGENT_ID: fake.agentId,
    CERTCTL_API_KEY: fake.apiKey,
    CERTCTL_DATA_DIR: join(folder, "data"),
    CERTCTL_AGENT_POLL_INTERVAL: "100ms",
    CERTCTL_AGENT_HEARTBEAT_INTERVAL: "100ms",
    CERTCTL_AGENT_BACKOFF_UNIT: "15ms",
    CERTCTL_VERIFY_DELAY: "0",
    ...env,
  }
  const config = agentConfig(settings, (line) => {
    throw new Error(line)
  })
  hasEnded = false
  ended = agentProcess(config, stop.signal).finally(() => {
    hasEnded = true
  })
  fake.addTarget("tgt-1", "mc-api", "NGINX", {
    cert_path: join(folder, "site.pem"),
    key_path: join(folder, "site.key"),
    validate_command: "true",
    reload_command: "true",
  })
}

const settled = () => fake.state.jobs.every(({ status }) => status === "Completed" || status === "Failed")

/** One renewal from request to files: what the agent is for. */
const renews = async (): Promise<void> => {
  const before = fake.state.jobs.length
  fake.addCsrJob("mc-api", "api.example.com")
  await until("the renewal and its deployment have ended", () => fake.state.jobs.length >= before + 2 && settled())
  expect(fake.state.jobs.slice(-2).map(({ status }) => status)).toEqual(["Completed", "Completed"])
  expect(isPair()).toBe(true)
  expect(hasEnded).toBe(false)
}

const isPair = () =>
  keysMatch(
    readPrivateKey(readFileSync(join(folder, "site.key"), "utf8")),
    certificateBlocks(readFileSync(join(folder, "site.pem"), "utf8"))[0] ?? Buffer.alloc(0),
  )

/** 410 is an answer of the protocol and has tests of its own. 302: a proxy that wants a sign-in. */
const refusals = [302, 400, 401, 403, 404, 405, 409, 413, 415, 418, 422, 429, 500, 501, 502, 503, 504] as const
/** With the right status, and still not the protocol. */
const garbage = ["", "null", "[]", "{", "<html>sign in</html>", '{"jobs":null}', '{"jobs":[{"id":7}],"count":1}']

for (const style of ["old", "new"] as const) {
  describe(`a server of the ${style} style`, () => {
    for (const [name, path] of [
      ["the heartbeat", /heartbeat$/],
      ["the work poll", /work$/],
    ] as const) {
      test(`that refuses ${name}, in any way, has its agent back`, async () => {
        await start(style)
        for (const status of refusals) {
          const asked = fake.requests(path).length
          fake.interfere(path, status)
          fake.endPolls()
          // Two more: the one that was refused, and one that was not.
          await until(`it is asked again after ${status}`, () => fake.requests(path).length >= asked + 2)
        }
        await renews()
      })
    }

    test("that answers a poll with anything else has its agent back", async () => {
      await start(style)
      for (const body of garbage) {
        const asked = fake.requests(/work$/).length
        fake.interfere(/work$/, 200, 1, { body })
        fake.endPolls()
        await until(`it is asked again after ${JSON.stringify(body)}`, () => fake.requests(/work$/).length >= asked + 2)
      }
      await renews()
    })

    test("that refuses a CSR, in any way, gets another one with the next job", async () => {
      await start(style)
      await renews()
      for (const status of refusals) {
        fake.interfere(/\/csr$/, status)
        const job = fake.addCsrJob("mc-api", "api.example.com")
        await until(`the job has ended after ${status}`, () => settled() && job.status !== "AwaitingCSR")
        // Whatever became of it, what is deployed still works, and the key of what was signed is still there.
        expect(isPair()).toBe(true)
        if (job.status === "Failed") expect(job.error).toContain(String(status))
      }
      await renews()
    })

    test("that does not give a certificate away fails the job in words, and no other", async () => {
      await start(style)
      await renews()
      for (const status of refusals) {
        fake.interfere(/\/certificates\/mc-api$/, status)
        const job = fake.addDeployment("tgt-1", fake.state.versions.at(-1)?.id)
        await until(`the job has ended after ${status}`, settled)
        if (job.status === "Failed") expect(job.error).toMatch(/^cert fetch failed: /)
      }
      for (const body of [
        '{"certificate_pem":""}',
        "{}",
        '{"certificate_pem":"-----BEGIN CERTIFICATE-----"}',
        "<html>",
      ]) {
        fake.interfere(/\/certificates\/mc-api$/, 200, 1, { body })
        const job = fake.addDeployment("tgt-1", fake.state.versions.at(-1)?.id)
        await until(`the job has ended after ${body}`, settled)
        // What is no answer at all is asked for again.
        if (job.status === "Failed") expect(job.error).toMatch(/^cert fetch failed: /)
      }
      await renews()
    })

    test("that refuses reports has its deployments done all the same", async () => {
      await start(style)
      await renews()
      for (const status of refusals) {
        fake.interfere(/\/status$/, status)
        fake.addDeployment("tgt-1", fake.state.versions.at(-1)?.id)
        await until(`the deployment is reported after ${status}`, settled)
      }
      await renews()
      expect(readdirSync(join(folder, "data", "deployments"))).toEqual([])
    })
  })
}

test("the answer to a discovery report is of no consequence", async () => {
  await start("new", { CERTCTL_DISCOVERY_DIRS: folder, CERTCTL_AGENT_DISCOVERY_INTERVAL: "1s" })
  await renews()
  for (const status of [401, 413, 500] as const) {
    fake.interfere(/discoveries$/, status)
    const told = fake.requests(/discoveries$/).length
    await until(`it is told again after ${status}`, () => fake.requests(/discoveries$/).length >= told + 2)
  }
  await renews()
})

describe("an agent that was retired", () => {
  for (const [name, path] of [
    ["heartbeat", /heartbeat$/],
    ["work poll", /work$/],
  ] as const) {
    test(`hears of it with its ${name}, and ends well`, async () => {
      await start("new")
      await until("it works", () => fake.requests(/work$/).length > 0)
      fake.interfere(path, 410)
      fake.endPolls()
      await ended
      expect(hasEnded).toBe(true)
    })
  }
})

test("refused again and again, an agent asks less and less often, and at once again when it is let in", async () => {
  await start("new", { CERTCTL_AGENT_HEARTBEAT_INTERVAL: "1h", CERTCTL_AGENT_BACKOFF_UNIT: "40ms" })
  await until("it works", () => fake.requests(/work$/).length > 0)
  const times: number[] = []
  let count = fake.requests(/work$/).length
  fake.interfere(/work$/, 401, 6)
  fake.endPolls()
  await until(
    "it was refused six times",
    () => {
      const now = fake.requests(/work$/).length
      for (; count < now; count++) times.push(performance.now())
      return times.length >= 7
    },
    30_000,
    1,
  )
  // The n-th wait is n units and never shorter than half of that, whatever is done against herds.
  const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0))
  for (const [index, wait] of waits.slice(0, 5).entries()) expect(wait).toBeGreaterThan((index + 1) * 40 * 0.5 - 5)
  await renews()
})
