import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Authority, createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { openCertificateFiles } from "./certificate-files"
import type { TlsSource } from "./tls-source"

const folder = mkdtempSync(join(tmpdir(), "certctl-files-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const validity = { notBefore: new Date("2026-01-01T00:00:00Z"), notAfter: new Date("2036-01-01T00:00:00Z") }
let root: Authority
beforeAll(async () => {
  const made = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Root", ...validity })
  root = openAuthority({ ...made, chainPem: "" })
})

const newPair = async () => {
  const key = await generateKey("ecdsa-p256")
  const { certPem } = await root.sign({
    spkiDer: spkiOf(key),
    subjectCommonName: "web.example",
    sans: [{ type: "dns", value: "web.example" }],
    ekus: ["serverAuth"],
    ...validity,
  })
  return { cert: certPem, key: privateKeyPem(key) }
}

const setUp = async () => {
  const place = mkdtempSync(join(folder, "pair-"))
  const [certPath, keyPath] = [join(place, "cert.pem"), join(place, "key.pem")]
  const lines = { info: [] as string[], warn: [] as string[], error: [] as string[] }
  const log = {
    info: (line: string) => void lines.info.push(line),
    warn: (line: string) => void lines.warn.push(line),
    error: (line: string) => void lines.error.push(line),
  }
  const write = ({ cert, key }: { cert: string; key: string }) => {
    writeFileSync(keyPath, key, { mode: 0o600 })
    writeFileSync(certPath, cert)
  }
  const open = (pollMs = 3_600_000) => openCertificateFiles({ certPath, keyPath, log, pollMs })
  write(await newPair())
  return { place, certPath, keyPath, lines, write, open }
}

/** Resolves at the next change; nobody calls `check`. */
const change = (source: TlsSource): Promise<void> => new Promise((resolve) => void source.onChange(resolve))

test("presents the chain that the file holds", async () => {
  const { open, write } = await setUp()
  const pair = await newPair()
  write({ ...pair, cert: `comment\n${pair.cert}${root.certPem}` })
  const source = await open()
  expect(source.current()).toEqual({ certificatePem: pair.cert + root.certPem, privateKeyPem: pair.key })
  source.close()
})

test("notices files renamed over the old ones by itself", async () => {
  const { open, certPath, keyPath } = await setUp()
  const source = await open()
  const changed = change(source)
  const pair = await newPair()
  writeFileSync(`${keyPath}.new`, pair.key)
  writeFileSync(`${certPath}.new`, pair.cert)
  renameSync(`${keyPath}.new`, keyPath)
  renameSync(`${certPath}.new`, certPath)
  await changed
  expect(source.current()).toEqual({ certificatePem: pair.cert, privateKeyPem: pair.key })
  source.close()
})

test("notices a folder swapped further up, which no watch sees", async () => {
  const { place, lines } = await setUp()
  const versions = [await newPair(), await newPair()]
  for (const [index, { cert, key }] of versions.entries()) {
    mkdirSync(join(place, `v${index}`))
    writeFileSync(join(place, `v${index}`, "cert"), cert)
    writeFileSync(join(place, `v${index}`, "key"), key, { mode: 0o600 })
  }
  symlinkSync("v0", join(place, "live"))
  const source = await openCertificateFiles({
    certPath: join(place, "live", "cert"),
    keyPath: join(place, "live", "key"),
    log: { info: (line) => lines.info.push(line), warn() {}, error() {} },
    pollMs: 10,
  })
  const changed = change(source)
  symlinkSync("v1", join(place, "next"))
  renameSync(join(place, "next"), join(place, "live"))
  await changed
  expect(source.current().certificatePem).toBe(versions[1]?.cert ?? "")
  expect(lines.info).toHaveLength(1)
  source.close()
})

test("a pair that does not fit is reported once and does not replace the good one", async () => {
  const { open, certPath, keyPath, lines } = await setUp()
  const source = await open()
  const good = source.current()
  let changes = 0
  source.onChange(() => changes++)
  writeFileSync(keyPath, (await newPair()).key)
  await source.check()
  await source.check()
  expect(source.current()).toBe(good)
  expect(lines.error).toHaveLength(1)
  expect(lines.error[0]).toContain("the key does not belong to the certificate")

  rmSync(certPath)
  await source.check()
  expect(lines.error.at(-1)).toContain(`cannot read ${certPath}`)

  writeFileSync(keyPath, good.privateKeyPem)
  writeFileSync(certPath, good.certificatePem)
  await source.check()
  expect([changes, source.current()]).toEqual([0, good])
  source.close()
})

test("warns when others can read the key", async () => {
  const { open, keyPath, lines } = await setUp()
  const pair = await newPair()
  rmSync(keyPath)
  writeFileSync(keyPath, pair.key, { mode: 0o644 })
  writeFileSync(join(keyPath, "..", "cert.pem"), pair.cert)
  const source = await open()
  expect(lines.warn).toEqual([`${keyPath} can be read by others than its owner (chmod 600)`])
  source.close()
})

describe("refuses to start with", () => {
  test.each<[string, (pair: { cert: string; key: string }) => Promise<{ cert: string; key: string }>, string]>([
    [
      "a key of another certificate",
      async ({ cert }) => ({ cert, key: (await newPair()).key }),
      "the key does not belong",
    ],
    ["no certificate", async ({ key }) => ({ cert: key, key }), "CERTCTL_SERVER_TLS_CERT_PATH"],
    ["no key", async ({ cert }) => ({ cert, key: cert }), "CERTCTL_SERVER_TLS_KEY_PATH"],
    ["an empty file", async ({ cert }) => ({ cert, key: "" }), "CERTCTL_SERVER_TLS_KEY_PATH"],
  ])("%s", async (_what, spoil, line) => {
    const { open, write } = await setUp()
    const pair = await newPair()
    write(await spoil(pair))
    const error = await open().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: "AppError", code: "validation" })
    expect(String(error)).toContain(line)
    expect(String(error)).not.toContain(pair.key.split("\n")[1] ?? "")
  })
  test("a file that is not there", async () => {
    const { open, keyPath } = await setUp()
    rmSync(keyPath)
    await expect(open()).rejects.toThrow(`CERTCTL_SERVER_TLS_KEY_PATH: cannot read ${keyPath}`)
  })
})
