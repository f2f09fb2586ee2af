/** The server's own certificate is replaced while clients are connected. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync, renameSync, writeFileSync } from "node:fs"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { probe } from "../connectors/probe"
import { openAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { generateKey, privateKeyPem, readPrivateKey, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { joinedAgent } from "../testing/agent-process"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

let stage: Stage
afterEach(() => stage.end())

const served = async (port: number): Promise<string> => {
  const result = await probe({ host: "127.0.0.1", port, timeoutMs: 5000 })
  return result.ok ? result.served.fingerprint : result.error
}

const hourMs = 3_600_000

describe("the server's certificate", () => {
  test("is swapped without a failed request on kept connections, long polls and event streams", async () => {
    stage = openStage()
    const authority = await testAuthority()
    const certPath = stage.at("tls.pem")
    const keyPath = stage.at("tls.key")
    const install = async () => {
      const leaf = await testLeaf(authority, ["localhost", "127.0.0.1"])
      // One after the other, as people do: until the second, the pair does not match and must not be used.
      for (const [path, text] of [
        [keyPath, leaf.keyPem],
        [certPath, leaf.certPem + authority.certPem],
      ] as const) {
        writeFileSync(`${path}.new`, text, { mode: 0o600 })
        renameSync(`${path}.new`, path)
      }
      return leaf.fingerprint
    }
    const first = await install()
    const server = await serverProcess(stage, {
      env: { CERTCTL_SERVER_TLS_CERT_PATH: certPath, CERTCTL_SERVER_TLS_KEY_PATH: keyPath },
      caPem: authority.certPem,
    })
    await server.start()
    expect(await served(server.port)).toBe(first)
    writeFileSync(stage.at("ca.pem"), authority.certPem)
    const agent = await joinedAgent(stage, server, { env: { CERTCTL_SERVER_CA_BUNDLE_PATH: stage.at("ca.pem") } })

    const over = new AbortController()
    const counts = { requests: 0, polls: 0, streams: 0 }
    const failures: string[] = []
    const get = (path: string, key: string) =>
      fetch(server.url + path, {
        headers: { authorization: `Bearer ${key}` },
        signal: over.signal,
        tls: { ca: authority.certPem },
      })
    const repeat = async (what: keyof typeof counts, once: () => Promise<Response>) => {
      while (!over.signal.aborted) {
        try {
          const answer = await once()
          if (answer.status !== 200) failures.push(`${what}: ${answer.status}`)
          counts[what]++
          // To its end: a stream that is cut off in the middle throws here.
          await answer.text()
        } catch (error) {
          if (!over.signal.aborted) failures.push(`${what}: ${error}`)
        }
      }
    }
    const load = Promise.all([
      ...Array.from({ length: 4 }, () => repeat("requests", () => get("/api/v1/auth/check", server.adminKey))),
      ...Array.from({ length: 4 }, () =>
        repeat("polls", () => get(`/api/v1/agents/${agent.id}/work?wait=25&holding=`, agent.apiKey)),
      ),
      ...Array.from({ length: 4 }, () => repeat("streams", () => get("/api/v1/events", server.adminKey))),
    ])
    await until("everybody is connected", () => counts.requests > 20 && counts.streams === 4)

    const second = await install()
    await until("new connections see the new certificate", async () => (await served(server.port)) === second)
    // Each had one long poll and one stream open on the old listener, which ends them when its clients have had time to go.
    await until("streams and long polls were resumed", () => counts.streams >= 8 && counts.polls >= 4)
    const { requests } = counts
    await until("requests go on", () => counts.requests > requests + 20)
    expect(failures).toEqual([])
    over.abort()
    await load
    expect(await server.stop()).toBe(0)
  })

  test("is renewed at the start when it has grown old, by the same CA", async () => {
    stage = openStage()
    const server = await serverProcess(stage)
    await server.start()
    const ca = server.caPem
    await server.stop()
    const path = `${server.dataDir}/tls/server.pem`
    const authority = openAuthority({
      certPem: ca,
      chainPem: "",
      privateKey: readPrivateKey(readFileSync(`${server.dataDir}/tls/ca.key`, "utf8")),
    })
    const key = await generateKey("ecdsa-p256")
    const fresh = parseCertificate(readFileSync(path, "utf8").replace(/^[\s\S]*?(?=-----BEGIN CERTIFICATE)/, ""))
    const old = await authority.sign({
      spkiDer: spkiOf(key),
      subjectCommonName: fresh.commonName,
      sans: fresh.sans.map(({ value }) => sanOf(value)),
      ekus: ["serverAuth"],
      notBefore: new Date(Date.now() - 3 * hourMs),
      notAfter: new Date(Date.now() + hourMs),
    })
    writeFileSync(path, privateKeyPem(key) + old.certPem)

    await server.start()
    expect(server.caPem).toBe(ca)
    const now = await served(server.port)
    expect([old.fingerprint, fresh.fingerprint]).not.toContain(now)
    expect((await server.call("GET", "/api/v1/auth/check")).status).toBe(200)
  })
})
