import { afterEach, beforeEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Agent, request } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { probe } from "../connectors/probe"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { type DemoEndpoint, pairIn, readPair, reloadPath, startDemoEndpoint } from "./endpoint.server"

const now = new Date()
const inDays = (days: number) => new Date(now.getTime() + days * 86_400_000)
const validity = { notBefore: inDays(-1), notAfter: inDays(10) }

let folder: string
let endpoint: DemoEndpoint | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-endpoint-"))
})
afterEach(() => {
  endpoint?.close()
  endpoint = undefined
  rmSync(folder, { recursive: true, force: true })
})

const newPair = async (span = validity) => {
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "CA", ...validity })
  const key = await generateKey("ecdsa-p256")
  const { certPem, fingerprint } = await openAuthority({
    certPem: root.certPem,
    chainPem: root.certPem,
    privateKey: root.privateKey,
  }).sign({ spkiDer: spkiOf(key), subjectCommonName: "a", sans: [sanOf("a.example")], ekus: ["serverAuth"], ...span })
  return { certPem: certPem + root.certPem, keyPem: privateKeyPem(key), fingerprint }
}

const put = ({ certPem, keyPem }: { certPem: string; keyPem: string }): void => {
  const { certPath, keyPath } = pairIn(folder)
  writeFileSync(certPath, certPem)
  writeFileSync(keyPath, keyPem)
}

const start = async (port = 0): Promise<DemoEndpoint> => {
  endpoint = await startDemoEndpoint(folder, port, () => now)
  return endpoint
}

const served = async (port: number): Promise<string> => {
  const seen = await probe({ host: "127.0.0.1", port, timeoutMs: 5000 })
  return seen.ok ? seen.served.fingerprint : seen.error
}

/** Over one connection that is kept, unless it is dropped. */
const client = (port: number) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false })
  return (method: string, path: string): Promise<{ status: number; text: string; from: number }> => {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string; from: number }>()
    const call = request({ host: "127.0.0.1", port, agent, method, path, rejectUnauthorized: false }, (answer) => {
      const from = answer.socket.localPort ?? 0
      let text = ""
      answer.on("data", (chunk) => {
        text += chunk
      })
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text, from }))
    })
    call.on("error", reject)
    call.end()
    return promise
  }
}

test("serves a placeholder until there is a pair, and the pair after a reload, on the connections it has", async () => {
  const { port } = await start()
  const ask = client(port)
  const first = await ask("GET", "/")
  expect(first.status).toBe(200)

  const pair = await newPair()
  expect(await served(port)).not.toBe(pair.fingerprint)
  put(pair)
  expect(await ask("POST", reloadPath)).toMatchObject({ status: 200, text: `${pair.fingerprint}\n`, from: first.from })
  expect(await served(port)).toBe(pair.fingerprint)
  const last = await ask("GET", "/")
  expect(last.from).toBe(first.from)
  expect(last.text).toContain("erved by the certctl demo endpoint")
  expect(last.text).toContain(pair.fingerprint)
})

test("keeps what it serves when the files cannot be served", async () => {
  const [good, other] = [await newPair(), await newPair()]
  put(good)
  const { port } = await start()
  expect(await served(port)).toBe(good.fingerprint)

  put({ certPem: other.certPem, keyPem: good.keyPem })
  const refused = await client(port)("POST", reloadPath)
  expect(refused.status).toBe(500)
  expect(refused.text).toContain("is not its key")
  expect(await served(port)).toBe(good.fingerprint)
})

test("listens elsewhere when its former port is taken", async () => {
  using other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const { port } = await start(other.port)
  expect(port).not.toBe(other.port)
  expect(await served(port)).toMatch(/^[0-9a-f]{64}$/)
})

test("a pair is refused when a file is missing, when they do not belong together and when it is out of date", async () => {
  expect(() => readPair(folder, now)).toThrow("ENOENT")
  const [one, other] = [await newPair(), await newPair()]
  put({ certPem: one.certPem, keyPem: other.keyPem })
  expect(() => readPair(folder, now)).toThrow("is not its key")
  put(await newPair({ notBefore: inDays(-5), notAfter: inDays(-1) }))
  expect(() => readPair(folder, now)).toThrow("it is not valid now")
  put(one)
  expect(readPair(folder, now).fingerprint).toBe(one.fingerprint)
})
