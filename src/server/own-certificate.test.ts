import { afterAll, expect, test } from "bun:test"
import { createHash, X509Certificate } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import type { Clock } from "../clock"
import { certificateBlocks } from "../pki/pem"
import { openOwnCertificate, serverNames } from "./own-certificate"

const folder = mkdtempSync(join(tmpdir(), "certctl-own-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const dayMs = 24 * 3_600_000
const start = new Date("2026-03-01T12:00:00Z")

const setUp = () => {
  const dataDir = mkdtempSync(join(folder, "data-"))
  const names = ["web.example", "localhost", "127.0.0.1", "::1"]
  const lines: string[] = []
  let now = start
  const clock: Clock = { now: () => now }
  const write = (line: string) => void lines.push(line)
  const open = async () => {
    const log = { info: write, warn: write, error: write }
    const own = await openOwnCertificate({ dataDir, names: () => names, lifetimeMs: 90 * dayMs, clock, log })
    // Tests look when they want to.
    own.close()
    return own
  }
  const later = (days: number) => {
    now = new Date(start.getTime() + days * dayMs)
  }
  return { dataDir, tls: join(dataDir, "tls"), names, lines, open, later }
}

test("makes a CA of ten years and a certificate of ninety days that it signed", async () => {
  const { open } = setUp()
  const own = await open()
  const ca = new X509Certificate(own.caCertificatePem)
  expect(ca.subject).toMatch(/^CN=certctl server CA [0-9a-f]{8}$/)
  expect(ca.ca).toBe(true)
  expect(ca.verify(ca.publicKey)).toBe(true)
  expect(new Date(ca.validTo).getTime() - start.getTime()).toBe(3652 * dayMs)
  expect(own.caFingerprint).toBe(createHash("sha256").update(ca.raw).digest("hex"))

  const [leafDer, caDer, ...rest] = certificateBlocks(own.current().certificatePem)
  const leaf = new X509Certificate(leafDer ?? "")
  expect(leaf.verify(ca.publicKey)).toBe(true)
  expect(caDer?.equals(ca.raw)).toBe(true)
  expect(rest).toEqual([])
  expect(leaf.subjectAltName).toBe("DNS:web.example, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1")
  expect(new Date(leaf.validFrom).getTime()).toBeLessThan(start.getTime())
  expect(new Date(leaf.validTo).getTime() - start.getTime()).toBe(90 * dayMs)
})

test("keeps its files to itself and leaves no temporary ones", async () => {
  const { open, tls } = setUp()
  await open()
  expect(readdirSync(tls).sort()).toEqual(["ca.key", "ca.pem", "server.pem"])
  for (const name of readdirSync(tls)) expect(statSync(join(tls, name)).mode & 0o777).toBe(0o600)
  expect(statSync(tls).mode & 0o777).toBe(0o700)
})

test("a restart finds the same CA and the same certificate", async () => {
  const { open, later } = setUp()
  const first = await open()
  later(30)
  const second = await open()
  expect(second.caFingerprint).toBe(first.caFingerprint)
  expect(second.current()).toEqual(first.current())
})

test("renews when a third of the life remains, not before, under the same CA", async () => {
  const { open, later } = setUp()
  const own = await open()
  const before = own.current()
  let changes = 0
  own.onChange(() => changes++)
  later(59)
  await own.check()
  expect([changes, own.current()]).toEqual([0, before])

  later(60)
  await Promise.all([own.check(), own.check()])
  expect(changes).toBe(1)
  const renewed = new X509Certificate(own.current().certificatePem)
  expect(new Date(renewed.validTo).getTime() - start.getTime()).toBe(150 * dayMs)
  expect(renewed.verify(new X509Certificate(own.caCertificatePem).publicKey)).toBe(true)
  expect(own.current().privateKeyPem).not.toBe(before.privateKeyPem)
  expect((await open()).current()).toEqual(own.current())
})

test("a server that was off past the end of its certificate starts with a new one", async () => {
  const { open, later } = setUp()
  await open()
  later(400)
  const own = await open()
  expect(new Date(new X509Certificate(own.current().certificatePem).validTo).getTime()).toBe(
    start.getTime() + 490 * dayMs,
  )
})

test("a new name needs a new certificate, a name that has gone does not", async () => {
  const { open, names } = setUp()
  const own = await open()
  const first = own.current()
  names.splice(0, 1)
  await own.check()
  expect(own.current()).toBe(first)
  names.push("192.0.2.7")
  await own.check()
  expect(new X509Certificate(own.current().certificatePem).subjectAltName).toBe(
    "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:192.0.2.7",
  )
})

test("a damaged server certificate is replaced", async () => {
  const { open, tls } = setUp()
  const first = await open()
  const stored = readFileSync(join(tls, "server.pem"), "utf8")
  for (const damage of ["", "garbage", stored.slice(0, 300), stored.slice(stored.indexOf("-----BEGIN CERTIFICATE"))]) {
    writeFileSync(join(tls, "server.pem"), damage)
    const own = await open()
    expect(own.caFingerprint).toBe(first.caFingerprint)
    expect(own.current().certificatePem).not.toBe(first.current().certificatePem)
  }
})

test("a certificate of another CA is replaced", async () => {
  const [one, other] = [setUp(), setUp()]
  await one.open()
  await other.open()
  writeFileSync(join(one.tls, "server.pem"), readFileSync(join(other.tls, "server.pem")))
  const own = await one.open()
  const leaf = new X509Certificate(own.current().certificatePem)
  expect(leaf.verify(new X509Certificate(own.caCertificatePem).publicKey)).toBe(true)
})

test("never replaces a CA that agents may have pinned", async () => {
  const { open, tls } = setUp()
  await open()
  const key = readFileSync(join(tls, "ca.key"))
  rmSync(join(tls, "ca.key"))
  await expect(open()).rejects.toThrow(`${join(tls, "ca.key")}, the key of the server's own CA, is missing`)

  const other = setUp()
  await other.open()
  writeFileSync(join(tls, "ca.key"), readFileSync(join(other.tls, "ca.key")))
  await expect(open()).rejects.toThrow("does not belong to")
  writeFileSync(join(tls, "ca.key"), key)
  await open()
})

test("a first boot that died between key and certificate is simply repeated", async () => {
  const { open, tls } = setUp()
  await open()
  rmSync(join(tls, "ca.pem"))
  rmSync(join(tls, "server.pem"))
  const own = await open()
  const leaf = new X509Certificate(own.current().certificatePem)
  expect(leaf.verify(new X509Certificate(own.caCertificatePem).publicKey)).toBe(true)
})

test("warns through the last year of the CA and never outlives it", async () => {
  const { open, later, lines } = setUp()
  await open()
  later(3652 - 30)
  const own = await open()
  expect(lines.join("\n")).toContain("the server's own CA ends on 2036-02-29")
  expect(new X509Certificate(own.current().certificatePem).validTo).toBe(
    new X509Certificate(own.caCertificatePem).validTo,
  )
})

test("the names are those under which clients may come", () => {
  const names = serverNames("10.1.2.3", "https://[2001:DB8::1]:8443")
  expect(names).toContainValues(["localhost", "127.0.0.1", "::1", "10.1.2.3", "2001:db8::1"])
  if (/^[a-z0-9.-]+$/i.test(hostname())) expect(names).toContain(hostname())
  expect(new Set(names).size).toBe(names.length)
  for (const wildcard of ["0.0.0.0", "::"]) {
    const everywhere = serverNames(wildcard, "https://certctl.example")
    expect(everywhere).toContain("certctl.example")
    expect(everywhere).not.toContain(wildcard)
  }
})
