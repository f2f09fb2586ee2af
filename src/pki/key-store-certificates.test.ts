import { describe, expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { peer } from "../testing/peers"
import { createRootAuthority } from "./authority"
import { keyStoreCertificates } from "./key-store-certificates"
import { privateKeyPem } from "./keys"
import { certificateBlocks } from "./pem"

const root = await createRootAuthority({
  keyType: "ecdsa-p256",
  commonName: "Stored CA",
  notBefore: new Date(Date.now() - 3_600_000),
  notAfter: new Date(Date.now() + 3_600_000),
})
const [der = Buffer.alloc(0)] = certificateBlocks(root.certPem)

const inFolder = (use: (folder: string) => void) => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-stores-"))
  try {
    writeFileSync(join(folder, "k.pem"), privateKeyPem(root.privateKey))
    writeFileSync(join(folder, "c.pem"), root.certPem)
    use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const exported = (password: string, ...args: string[]): Buffer => {
  let made: Buffer = Buffer.alloc(0)
  inFolder((folder) => {
    const all = [
      "pkcs12",
      "-export",
      "-inkey",
      "k.pem",
      "-in",
      "c.pem",
      "-out",
      "s.p12",
      "-passout",
      `pass:${password}`,
    ]
    const { status, stderr } = spawnSync("openssl", [...all, ...args], { cwd: folder })
    if (status !== 0) throw new Error(stderr.toString())
    made = readFileSync(join(folder, "s.p12"))
  })
  return made
}

describe("PKCS#12 by openssl", () => {
  for (const [name, args] of [
    ["AES-256", []],
    ["AES-128 with SHA-512", ["-certpbe", "AES-128-CBC", "-macalg", "SHA512"]],
    ["3DES", ["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "SHA1"]],
    ["open certificates", ["-certpbe", "NONE"]],
  ] as const) {
    test(`${name} is opened by the password that fits`, () => {
      const store = exported("geheim ü", ...args)
      expect(keyStoreCertificates(store, ["wrong", "geheim ü"])).toEqual([der])
      if (name !== "open certificates") {
        expect(() => keyStoreCertificates(store, ["wrong"])).toThrow("none of the passwords opens it")
      }
    })
  }

  test("without a password needs none", () => {
    expect(keyStoreCertificates(exported(""), [])).toEqual([der])
  })
})

const keytool = peer("keytool", "default-jre-headless")
describe.skipIf(keytool === null)("stores by keytool", () => {
  for (const type of ["JKS", "JCEKS", "PKCS12"]) {
    test(`${type} is opened by the password that fits`, () => {
      inFolder((folder) => {
        const common = ["-keystore", "s", "-storetype", type, "-storepass", "changeit", "-noprompt"]
        const { status, stdout } = spawnSync(
          keytool ?? "",
          ["-importcert", "-alias", "one", "-file", "c.pem", ...common],
          { cwd: folder },
        )
        if (status !== 0) throw new Error(stdout.toString())
        const store = readFileSync(join(folder, "s"))
        expect(keyStoreCertificates(store, ["wrong", "changeit"])).toEqual([der])
        expect(() => keyStoreCertificates(store, ["wrong"])).toThrow("none of the passwords opens it")
      })
    })
  }
})

test("damaged stores are refused as invalid, never otherwise", () => {
  const store = exported("x", "-iter", "1")
  fc.assert(
    fc.property(fc.nat(store.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const damaged = Buffer.from(store)
      damaged[at] = (damaged[at] ?? 0) ^ change
      try {
        keyStoreCertificates(damaged, ["x"])
      } catch (error) {
        expect(error).toMatchObject({ code: "validation" })
      }
    }),
    { numRuns: 200 },
  )
})
