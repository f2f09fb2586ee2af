import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createPrivateKey, type KeyObject } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { buildCsr, parseCsr } from "../pki/csr"
import { generateKey, privateKeyPem } from "../pki/keys"
import { certificateBlocks } from "../pki/pem"
import { openAuthorityFiles } from "./authority-files"

const from = new Date("2030-01-01T00:00:00Z")
const until = new Date("2040-01-01T00:00:00Z")

let folder: string
let root: { certPem: string; privateKey: KeyObject }
const pathOf = (name: string) => join(folder, name)
const write = (name: string, text: string): string => {
  writeFileSync(pathOf(name), text)
  return pathOf(name)
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "certctl-ca-files-"))
  root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "Files CA", notBefore: from, notAfter: until })
})
afterAll(() => rmSync(folder, { recursive: true }))

const pkcs8 = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }).toString()

describe("a CA from files", () => {
  test("opens with its key in any usual form, and passes on the certificates of the file only", async () => {
    const other = await createRootAuthority({
      keyType: "ed25519",
      commonName: "Above",
      notBefore: from,
      notAfter: until,
    })
    const certPath = write("chain.pem", `a comment\n${root.certPem}${pkcs8(root.privateKey)}${other.certPem}`)
    const encrypted = root.privateKey
      .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "open sesame" })
      .toString()
    for (const [keyText, passphrase] of [
      [pkcs8(root.privateKey), null],
      [privateKeyPem(root.privateKey), null],
      [encrypted, "open sesame"],
    ] as const) {
      const authority = await openAuthorityFiles({ certPath, keyPath: write("ca.key", keyText), passphrase })
      expect(authority.commonName).toBe("Files CA")
      expect(certificateBlocks(authority.chainPem)).toHaveLength(2)
      expect(authority.chainPem).not.toContain("PRIVATE KEY")
    }
  })

  test("is refused for a key that is not its own, without a word about the key", async () => {
    const other = pkcs8(await generateKey("ecdsa-p256"))
    const opening = openAuthorityFiles({
      certPath: write("ca.pem", root.certPem),
      keyPath: write("other.key", other),
      passphrase: null,
    })
    await expect(opening).rejects.toThrow(/ca\.pem.*other\.key.*the private key does not belong to it/)
  })

  test("is refused when its certificate is no CA's", async () => {
    const key = await generateKey("ecdsa-p256")
    const csr = parseCsr(buildCsr({ commonName: "leaf.test", sans: ["leaf.test"], privateKey: key }))
    const authority = openAuthority({ ...root, chainPem: root.certPem })
    const leaf = await authority.sign({ ...csr, ekus: [], notBefore: from, notAfter: until })
    const opening = openAuthorityFiles({
      certPath: write("leaf.pem", leaf.certPem),
      keyPath: write("leaf.key", pkcs8(key)),
      passphrase: null,
    })
    await expect(opening).rejects.toThrow("is not a CA certificate")
  })

  test("is refused with the wrong passphrase, which the message does not repeat", async () => {
    const encrypted = createPrivateKey(pkcs8(root.privateKey))
      .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "right" })
      .toString()
    const failure = await openAuthorityFiles({
      certPath: write("ca.pem", root.certPem),
      keyPath: write("locked.key", encrypted),
      passphrase: "wr0ng-passphrase",
    }).catch((error) => error)
    expect(failure.code).toBe("upstream")
    expect(failure.message).not.toContain("wr0ng-passphrase")
  })

  test.each([
    ["missing.pem", "ca.key", /cannot read .*missing\.pem/],
    ["empty.pem", "ca.key", /has no CERTIFICATE block/],
    ["ca.pem", "missing.key", /cannot read .*missing\.key/],
    ["ca.pem", "empty.pem", /no private key block/],
  ])("is refused from %s with %s", async (certName, keyName, reason) => {
    write("ca.pem", root.certPem)
    write("ca.key", pkcs8(root.privateKey))
    write("empty.pem", "")
    const opening = openAuthorityFiles({ certPath: pathOf(certName), keyPath: pathOf(keyName), passphrase: null })
    await expect(opening).rejects.toThrow(reason)
  })
})
