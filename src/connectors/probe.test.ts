import { expect, test } from "bun:test"
import { createServer as createTcpServer } from "node:net"
import { createServer, type TlsOptions } from "node:tls"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { addressOf, probe } from "./probe"

const hour = 3_600_000
const span = { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + hour) }

const issued = async (name: string) => {
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Probe CA", ...span })
  const authority = openAuthority({ ...root, chainPem: "" })
  const key = await generateKey("ecdsa-p256")
  const leaf = await authority.sign({
    spkiDer: spkiOf(key),
    subjectCommonName: name,
    sans: [sanOf(name)],
    ekus: ["serverAuth"],
    ...span,
  })
  return { key: privateKeyPem(key), cert: leaf.certPem + authority.certPem, leaf }
}

const listening = async (options: TlsOptions, use: (port: number) => Promise<void>) => {
  const server = createServer(options)
  server.on("tlsClientError", () => undefined)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  try {
    await use(typeof address === "object" && address !== null ? address.port : 0)
  } finally {
    server.close()
  }
}

test("sees leaf, chain and protocol without trusting anybody", async () => {
  const { key, cert, leaf } = await issued("site.example")
  await listening({ key, cert }, async (port) => {
    const result = await probe({ host: "127.0.0.1", port, serverName: "site.example", timeoutMs: 5000 })
    if (!result.ok) throw new Error(result.error)
    expect(result.served).toMatchObject({
      fingerprint: leaf.fingerprint,
      tlsVersion: "TLSv1.3",
      cipherSuite: expect.stringMatching(/^TLS_/),
      subject: "site.example",
      issuer: "Probe CA",
      serial: leaf.serial,
      notAfter: leaf.notAfter,
    })
    expect(result.served.chainDer).toHaveLength(2)
    expect(result.address).toBe(`127.0.0.1:${port}`)
  })
})

test("picks the certificate of the name it asks for", async () => {
  const one = await issued("one.example")
  const two = await issued("two.example")
  const { createSecureContext } = await import("node:tls")
  const options: TlsOptions = {
    key: one.key,
    cert: one.cert,
    SNICallback: (name, done) => done(null, createSecureContext(name === "two.example" ? two : one)),
  }
  await listening(options, async (port) => {
    const result = await probe({ host: "127.0.0.1", port, serverName: "two.example", timeoutMs: 5000 })
    expect(result.ok && result.served.subject).toBe("two.example")
  })
})

test("counts a certificate that arrived before the server demanded one of ours", async () => {
  const { key, cert, leaf } = await issued("site.example")
  await listening({ key, cert, requestCert: true, rejectUnauthorized: true, maxVersion: "TLSv1.2" }, async (port) => {
    const result = await probe({ host: "127.0.0.1", port, timeoutMs: 5000 })
    expect(result.ok && result.served.fingerprint).toBe(leaf.fingerprint)
  })
})

test("gives up on a port that takes the connection and says nothing, and on one that is not TLS", async () => {
  const silent = createTcpServer(() => undefined)
  const rude = createTcpServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
  for (const server of [silent, rude]) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    const result = await probe({ host: "127.0.0.1", port, timeoutMs: 100 })
    expect(result.ok).toBe(false)
    server.close()
  }
})

test("says why nothing answered, and stops when it is told to", async () => {
  const refused = await probe({ host: "127.0.0.1", port: 1, timeoutMs: 5000 })
  expect(refused).toMatchObject({ ok: false, error: expect.stringContaining("ECONNREFUSED") })
  const cancelled = await probe({ host: "127.0.0.1", port: 1, timeoutMs: 5000, signal: AbortSignal.abort() })
  expect(cancelled).toMatchObject({ ok: false, error: "the probe was cancelled" })
})

test("puts IPv6 literals into brackets", () => {
  expect([addressOf("::1", 443), addressOf("h", 1)]).toEqual(["[::1]:443", "h:1"])
})
