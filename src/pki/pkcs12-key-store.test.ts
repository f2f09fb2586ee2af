import { describe, expect, test } from "bun:test"
import { createHash, createPrivateKey, X509Certificate } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { peer } from "../testing/peers"
import { type Authority, createRootAuthority, openAuthority } from "./authority"
import { generateKey, keyTypes, spkiOf } from "./keys"
import { sanOf } from "./names"
import { openssl } from "./openssl.process"
import { pkcs12KeyStore } from "./pkcs12-key-store"

const hasOpenssl = peer("openssl", "openssl") !== null
const keytool = peer("keytool", "default-jre-headless")

const span = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 86_400_000) }

const authority = async (): Promise<Authority> => {
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Test Root", ...span })
  return openAuthority({ ...root, chainPem: "" })
}

const identity = async (keyType: (typeof keyTypes)[number]) => {
  const root = await authority()
  const key = await generateKey(keyType)
  const { certPem } = await root.sign({
    spkiDer: spkiOf(key),
    subjectCommonName: "site.example",
    sans: [sanOf("site.example")],
    ekus: ["serverAuth"],
    ...span,
  })
  return { key, certPem, chainPem: root.certPem }
}

const password = 'p4ss "wörd" with blanks'

/** What openssl finds in a store: one key and the certificates. Its legacy provider reads the 3DES form. */
const contentOf = (file: Buffer, secret: string) => {
  const { ok, text } = openssl(["pkcs12", "-in", "store.p12", "-passin", "file:password", "-nodes", "-info"], {
    "store.p12": file,
    password: `${secret}\n`,
  })
  expect([ok, text]).toEqual([true, expect.any(String)])
  return text
}

describe.skipIf(!hasOpenssl)("openssl reads", () => {
  for (const legacy of [false, true]) {
    const form = legacy ? "3DES and SHA-1" : "AES-256 and SHA-256"
    for (const keyType of keyTypes.filter((type) => type !== "rsa-4096")) {
      test(`a ${keyType} key, its certificate and the chain back: ${form}`, async () => {
        const { key, certPem, chainPem } = await identity(keyType)
        const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString()
        const text = contentOf(pkcs12KeyStore({ keyPem, certPem, chainPem, password, legacy }), password)
        expect(createPrivateKey(text).equals(key)).toBe(true)
        const found = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
        expect(found.map((pem) => new X509Certificate(pem).fingerprint256)).toEqual(
          [certPem, chainPem].map((pem) => new X509Certificate(pem).fingerprint256),
        )
        expect(text).toContain(legacy ? "MAC: sha1" : "MAC: sha256")
        expect(text).toContain(legacy ? "pbeWithSHA1And3-KeyTripleDES-CBC" : "PBES2, PBKDF2, AES-256-CBC")
      })
    }
  }

  test("every form of key that the ways of enrolling produce, and a store without a chain", async () => {
    for (const [keyType, type] of [
      ["rsa-2048", "pkcs1"],
      ["ecdsa-p384", "sec1"],
    ] as const) {
      const { key, certPem } = await identity(keyType)
      const keyPem = key.export({ type, format: "pem" }).toString()
      const text = contentOf(pkcs12KeyStore({ keyPem, certPem, chainPem: "", password }), password)
      expect(createPrivateKey(text).equals(key)).toBe(true)
      expect(text.match(/BEGIN CERTIFICATE/g)).toHaveLength(1)
    }
  })

  test("key and leaf as tied together, and neither has a name", async () => {
    const { key, certPem, chainPem } = await identity("ecdsa-p256")
    const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString()
    const text = contentOf(pkcs12KeyStore({ keyPem, certPem, chainPem, password }), password)
    const id = createHash("sha1").update(new X509Certificate(certPem).raw).digest("hex").toUpperCase()
    const spaced = (id.match(/../g) ?? []).join(" ")
    expect(text.match(/localKeyID: [0-9A-F ]+/g)?.map((line) => line.trim())).toEqual([
      `localKeyID: ${spaced}`,
      `localKeyID: ${spaced}`,
    ])
    expect(text).not.toContain("friendlyName")
  })

  test("nothing without the password", async () => {
    const { key, certPem, chainPem } = await identity("ecdsa-p256")
    const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString()
    const file = pkcs12KeyStore({ keyPem, certPem, chainPem, password })
    const wrong = openssl(["pkcs12", "-in", "s", "-passin", "pass:wrong", "-nodes"], { s: file })
    expect(wrong.ok).toBe(false)
    expect(wrong.text).toContain("invalid password")
  })
})

describe.skipIf(keytool === null)("keytool", () => {
  for (const legacy of [false, true]) {
    test(`lists the entry as 1 with the whole chain (${legacy ? "legacy" : "modern"})`, async () => {
      const { key, certPem, chainPem } = await identity("rsa-2048")
      const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString()
      const folder = mkdtempSync(join(tmpdir(), "certctl-key-store-"))
      try {
        const file = join(folder, "store.p12")
        writeFileSync(file, pkcs12KeyStore({ keyPem, certPem, chainPem, password: "changeit", legacy }))
        const child = Bun.spawn(
          [keytool ?? "", "-list", "-v", "-keystore", file, "-storetype", "PKCS12", "-storepass:env", "STORE_PASSWORD"],
          { stdout: "pipe", stderr: "pipe", env: { PATH: process.env.PATH ?? "", STORE_PASSWORD: "changeit" } },
        )
        const text = await new Response(child.stdout).text()
        expect(await child.exited).toBe(0)
        expect(text).toContain("Alias name: 1\n")
        expect(text).toContain("Entry type: PrivateKeyEntry")
        expect(text).toContain("Certificate chain length: 2")
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})

test("an empty password, a text without key or without certificate is refused by name", async () => {
  const { key, certPem } = await identity("ecdsa-p256")
  const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString()
  const whole = { keyPem, certPem, chainPem: "", password: "secret" }
  expect(() => pkcs12KeyStore({ ...whole, password: "" })).toThrow("needs a password")
  expect(() => pkcs12KeyStore({ ...whole, keyPem: certPem })).toThrow("no private key block")
  expect(() => pkcs12KeyStore({ ...whole, certPem: "" })).toThrow("no certificate block")
})
