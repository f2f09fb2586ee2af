import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { agentClient } from "../src/client/agent-client"
import { httpTransport } from "../src/client/http-transport"
import { fingerprintOf } from "../src/pki/certificate"
import { certificateBlocks } from "../src/pki/pem"
import { agentConfig } from "./agent.config"
import { type FakeServer, type FakeServerOptions, startFakeServer, testAuthority } from "./agent-server.fake"
import { hostFacts } from "./host"
import { readIdentity } from "./identity"
import { type JoinOptions, joinAgent } from "./join"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

const secret = "jt-1.c2VjcmV0LXNlY3JldC1zZWNyZXQ"
let dataDir: string
let fake: FakeServer

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "certctl-join-"))
})
afterEach(async () => {
  await fake?.stop()
  rmSync(dataDir, { recursive: true })
})

const joined = (token: string, rest: Partial<JoinOptions> = {}) =>
  joinAgent({ server: fake.url, token, name: "web1", env: { CERTCTL_DATA_DIR: dataDir }, ...rest })

/** A server that takes the token whose pin is its own CA's. */
const start = async (options: FakeServerOptions = {}) => {
  const authority = await testAuthority()
  const pin = fingerprintOf(certificateBlocks(authority.certPem)[0] ?? Buffer.alloc(0))
  const token = `${secret}.${pin}`
  fake = await startFakeServer({ hasTls: true, authority, joinToken: token, ...options })
  return token
}

describe("joining", () => {
  test("registers the host, pins the CA and writes agent.json for the owner alone", async () => {
    const token = await start()
    const shown = await joined(token)
    expect(shown).not.toHaveProperty("api_key")
    expect(fake.state.seen[0]?.body).toMatchObject({ name: "web1", hostname: expect.any(String), os: process.platform })
    expect(statSync(join(dataDir, "agent.json")).mode & 0o777).toBe(0o600)
    expect(readIdentity(dataDir)).toMatchObject({ agent_id: "agent-1", api_key: fake.apiKey, is_ca_pinned: true })

    const config = agentConfig({ CERTCTL_DATA_DIR: dataDir }, () => undefined)
    expect(config).toMatchObject({ server: fake.url, agentId: "agent-1", trust: { kind: "pinned" } })
    const send = httpTransport({ server: config.server, apiKey: config.apiKey, trust: config.trust, userAgent: "test" })
    await agentClient(send, config.agentId).heartbeat(hostFacts())
  })

  test("refuses a host that has joined already, before the token is spent", async () => {
    const token = await start()
    await joined(token)
    await expect(joined(token)).rejects.toThrow("this host is agent agent-1 of")
    expect(fake.requests(/agents$/)).toHaveLength(1)
  })

  test("says what to do about a used token and a taken name", async () => {
    const token = await start()
    fake.interfere(/agents$/, 401, 1, { body: '{"error":"invalid_or_missing_bootstrap_token"}' })
    await expect(joined(token)).rejects.toThrow("Make a new one with certctl agents token create")
    fake.interfere(/agents$/, 409, 1, { body: '{"error":"Conflict","message":"name web1 is taken"}' })
    await expect(joined(token)).rejects.toThrow("name web1 is taken: choose another name with --name")
    expect(existsSync(join(dataDir, "agent.json"))).toBe(false)
  })
})

describe("nothing is sent to a server that", () => {
  const nothingSent = async (token: string, words: string) => {
    const error = await joined(token).catch((reason: Error) => reason)
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).toContain(words)
    expect(String(error)).not.toContain("c2VjcmV0")
    expect(fake.state.seen).toEqual([])
    expect(existsSync(join(dataDir, "agent.json"))).toBe(false)
  }

  test("has another CA", async () => {
    await start()
    await nothingSent(`${secret}.${"0".repeat(64)}`, "is not the server this token was made for")
  })

  test("shows the right CA behind a certificate of another", async () => {
    const right = await testAuthority("Right CA")
    const token = `${secret}.${fingerprintOf(certificateBlocks(right.certPem)[0] ?? Buffer.alloc(0))}`
    await start({ shownAuthorityPem: right.certPem })
    await nothingSent(token, "cannot be trusted")
  })

  test("does not send its CA along", async () => {
    const token = await start({ sendsAuthority: false })
    await nothingSent(token, "does not show the CA certificate the token names")
  })

  test("is called by a name that is not its own", async () => {
    const token = await start({ names: ["certctl.example"] })
    await nothingSent(token, "must be called by a name of its certificate")
  })

  test("has a certificate that has expired", async () => {
    const token = await start({ leafHours: -0.5 })
    await nothingSent(token, "this host's clock says")
  })

  test("is not there", async () => {
    const token = await start()
    await fake.stop()
    await nothingSent(token, "cannot reach 127.0.0.1")
  })

  test("the system does not trust, when the token names no CA", async () => {
    await start()
    await nothingSent(`${secret}.`, "the server's certificate is not trusted")
  })

  for (const token of ["", "jt-1", "jt-1.secret", "jt-1.secret.abc", "jt-1.secret.ZZ.x", "a b.c."]) {
    test(`the token ${JSON.stringify(token)} does not belong to`, async () => {
      await start()
      await nothingSent(token, "is not a whole join token")
    })
  }

  test("speaks plain HTTP elsewhere than on this machine", async () => {
    const token = await start()
    await expect(joined(token, { server: "http://certctl.example:8443" })).rejects.toThrow("must begin with https://")
  })
})

test("an operator's CA bundle is trusted beside the system's roots, and remembered", async () => {
  const token = await start()
  writeFileSync(join(dataDir, "ca.pem"), fake.authority.certPem)
  const unpinned = `${secret}.`
  fake.accept(unpinned)
  await joined(unpinned, { caBundle: join(dataDir, "ca.pem") })
  expect(readIdentity(dataDir)).toMatchObject({ ca_pem: fake.authority.certPem, is_ca_pinned: false })
  expect(token).toStartWith(secret)
})
