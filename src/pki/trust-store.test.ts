import { describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { peer } from "../testing/peers"
import { createRootAuthority } from "./authority"
import { certificateBlocks } from "./pem"
import { buildTrustStore } from "./trust-store"

const openssl = peer("openssl", "openssl")
const keytool = peer("keytool", "default-jre-headless")

const certificateOf = async (commonName: string) => {
  const { certPem } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
  })
  const [der] = certificateBlocks(certPem)
  if (der === undefined) throw new Error("no certificate was made")
  return { pem: certPem, der }
}

const inFolder = async (run: (folder: string) => Promise<void>): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-trust-store-"))
  try {
    await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const outputOf = async (command: readonly string[]): Promise<string> => {
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe" })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (code !== 0) throw new Error(`${command[0]} ended with ${code}: ${out}${err}`)
  return `${out}${err}`
}

const passwords = ["changeit", "", 'with blanks and "quotes"']

/** Writes a store of two certificates and its password. */
const storeIn = async (folder: string, password: string) => {
  const [leaf, root] = [await certificateOf("www.example.com"), await certificateOf("Test Root")]
  const file = join(folder, "store.p12")
  const aliased = [
    { der: leaf.der, alias: "www.example.com" },
    { der: root.der, alias: "test root" },
  ]
  writeFileSync(file, await buildTrustStore(aliased, password))
  const passwordFile = join(folder, "password")
  writeFileSync(passwordFile, `${password}\n`)
  return { file, passwordFile, leaf, root }
}

describe.skipIf(openssl === null)("a trust store, read by openssl", () => {
  test.each([...passwords, "pässwörd €"])(
    "opens with the password %p and holds the certificates, AES-256 and no key",
    (password) =>
      inFolder(async (folder) => {
        const { file, passwordFile, leaf, root } = await storeIn(folder, password)
        const shown = await outputOf([openssl ?? "", "pkcs12", "-in", file, "-passin", `file:${passwordFile}`, "-info"])
        expect(shown).toContain(leaf.pem.trim())
        expect(shown).toContain(root.pem.trim())
        expect(shown).toContain("MAC: sha256")
        expect(shown).toContain("PBES2, PBKDF2, AES-256-CBC")
        expect(shown).not.toContain("PRIVATE KEY")
      }),
  )

  test("does not open with another password", () =>
    inFolder(async (folder) => {
      const { file } = await storeIn(folder, "right")
      const other = join(folder, "other")
      writeFileSync(other, "wrong\n")
      await expect(outputOf([openssl ?? "", "pkcs12", "-in", file, "-passin", `file:${other}`])).rejects.toThrow(
        "invalid password",
      )
    }))
})

describe.skipIf(keytool === null)("a trust store, read by keytool", () => {
  test.each(passwords)(
    "lists each certificate as trusted under its alias, with the password %p",
    (password) =>
      inFolder(async (folder) => {
        const { file } = await storeIn(folder, password)
        const listed = await outputOf([
          keytool ?? "",
          "-J-Duser.language=en",
          "-list",
          "-storetype",
          "PKCS12",
          "-keystore",
          file,
          "-storepass",
          password,
        ])
        expect(listed).toContain("2 entries")
        expect(listed).toMatch(/www\.example\.com, .*trustedCertEntry/)
        expect(listed).toMatch(/test root, .*trustedCertEntry/)
      }),
    60_000,
  )
})
