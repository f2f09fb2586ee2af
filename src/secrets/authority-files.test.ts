import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { KeyObject } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { readAuthorityFiles } from "./authority-files"

const folder = mkdtempSync(join(tmpdir(), "certctl-ca-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 })
  return join(folder, name)
}

const now = new Date("2026-06-01T00:00:00Z")
const validity = { notBefore: new Date("2026-01-01T00:00:00Z"), notAfter: new Date("2027-01-01T00:00:00Z") }
let root: { certPem: string; privateKey: KeyObject }
let certPath: string
let keyPath: string
beforeAll(async () => {
  root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Corporate CA", ...validity })
  certPath = file("ca.pem", root.certPem)
  keyPath = file("ca.key", privateKeyPem(root.privateKey))
})

test("opens a pair", () => {
  const { certPem, chainPem, privateKey } = readAuthorityFiles({ certPath, keyPath, passphrase: null }, now)
  expect([certPem, chainPem, privateKey.equals(root.privateKey)]).toEqual([root.certPem, "", true])
})

test("opens a key with its passphrase, and the rest of the chain", () => {
  const sealed = root.privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "pw" })
  const files = {
    certPath: file("bundle.pem", root.certPem + root.certPem),
    keyPath: file("sealed.key", sealed.toString()),
    passphrase: "pw",
  }
  expect(readAuthorityFiles(files, now).chainPem).toBe(root.certPem)
})

describe("refuses", () => {
  const refusal = (files: { certPath?: string; keyPath?: string; passphrase?: string }, at = now): string => {
    try {
      readAuthorityFiles({ certPath, keyPath, passphrase: null, ...files }, at)
    } catch (error) {
      return String(error)
    }
    return "opened"
  }
  test("files that are not there", () => {
    expect(refusal({ certPath: "/nowhere" })).toContain("CERTCTL_CA_CERT_PATH: /nowhere: ENOENT")
    expect(refusal({ keyPath: "/nowhere" })).toContain("CERTCTL_CA_KEY_PATH: /nowhere: ENOENT")
  })
  test("files that hold something else", () => {
    expect(refusal({ certPath: keyPath })).toContain("CERTCTL_CA_CERT_PATH")
    expect(refusal({ keyPath: certPath })).toContain("CERTCTL_CA_KEY_PATH")
  })
  test("a certificate that may not sign", async () => {
    const key = await generateKey("ecdsa-p256")
    const leaf = await openAuthority({ ...root, chainPem: "" }).sign({
      spkiDer: spkiOf(key),
      subjectCommonName: "leaf.example",
      sans: [{ type: "dns", value: "leaf.example" }],
      ekus: ["serverAuth"],
      ...validity,
    })
    const files = { certPath: file("leaf.pem", leaf.certPem), keyPath: file("leaf.key", privateKeyPem(key)) }
    expect(refusal(files)).toContain("not a CA certificate")
  })
  test("a key of another certificate", async () => {
    const other = file("other.key", privateKeyPem(await generateKey("ecdsa-p256")))
    expect(refusal({ keyPath: other })).toContain("the private key does not belong to it")
  })
  test("a CA outside its validity", () => {
    expect(refusal({}, new Date("2025-12-31T23:59:59Z"))).toContain("not valid before 2026-01-01")
    expect(refusal({}, new Date("2027-01-01T00:00:00Z"))).toContain("expired on 2027-01-01")
  })
  test("a wrong or missing passphrase, without repeating it", () => {
    const sealed = root.privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "pw" })
    const path = file("locked.key", sealed.toString())
    const wrong = refusal({ keyPath: path, passphrase: "s3cret-guess" })
    expect(wrong).toContain(`CERTCTL_CA_KEY_PATH: ${path}: private key:`)
    expect(wrong).not.toContain("s3cret-guess")
    expect(refusal({ keyPath: path })).toContain("CERTCTL_CA_KEY_PATH")
  })
})
