import { describe, expect, test } from "bun:test"
import { createPublicKey, generateKeyPairSync } from "node:crypto"
import fc from "fast-check"
import { AppError } from "../errors"
import { buildCsr } from "./csr"
import {
  describePublicKey,
  generateKey,
  keyFacts,
  keysMatch,
  keyTypes,
  privateKeyPem,
  readPrivateKey,
  spkiOf,
} from "./keys"
import { openssl } from "./openssl.process"
import { pemBlocks, toPem } from "./pem"
import { damaged, sharedKey } from "./random.arbitrary"

const expected = {
  "ecdsa-p256": { algorithm: "ECDSA", size: 256 },
  "ecdsa-p384": { algorithm: "ECDSA", size: 384 },
  "ecdsa-p521": { algorithm: "ECDSA", size: 521 },
  "rsa-2048": { algorithm: "RSA", size: 2048 },
  "rsa-3072": { algorithm: "RSA", size: 3072 },
  "rsa-4096": { algorithm: "RSA", size: 4096 },
  ed25519: { algorithm: "Ed25519", size: 256 },
} as const

// RSA-4096 takes seconds to make and is no different; its size is covered by the openssl test below.
const quick = keyTypes.filter((type) => type !== "rsa-4096")
const opensslArguments = {
  "ecdsa-p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
  "ecdsa-p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
  "ecdsa-p521": ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
  "rsa-2048": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
  ed25519: ["ED25519"],
} as const

describe("keys", () => {
  for (const type of quick)
    test(`makes, writes and reads back ${type}`, async () => {
      const key = await sharedKey(type)
      expect(keyFacts(key)).toEqual(expected[type])
      expect(keyFacts(createPublicKey(key))).toEqual(expected[type])
      expect(keyFacts(spkiOf(key))).toEqual(expected[type])
      const pem = privateKeyPem(key)
      expect(pem.startsWith(`-----BEGIN ${type.startsWith("ecdsa") ? "EC PRIVATE KEY" : "PRIVATE KEY"}-----\n`)).toBe(
        true,
      )
      expect(readPrivateKey(pem).equals(key)).toBe(true)
      expect(readPrivateKey(key.export({ type: "pkcs8", format: "pem" }).toString()).equals(key)).toBe(true)
      expect(openssl(["pkey", "-in", "key.pem", "-noout", "-check"], { "key.pem": pem }).text).toContain("valid")
    })

  for (const [type, args] of Object.entries(opensslArguments))
    test(`reads what openssl writes for ${type}: PKCS#8, encrypted, old forms`, () => {
      const made = openssl(["genpkey", "-quiet", "-algorithm", ...args])
      const pkcs8 = made.ok ? made.text : openssl(["genpkey", "-algorithm", ...args]).text
      const plain = pkcs8.slice(pkcs8.indexOf("-----BEGIN PRIVATE KEY"))
      const key = readPrivateKey(plain)
      expect(keyFacts(key)).toEqual(expected[type as keyof typeof expected])
      const encryptions = [
        ["-v2", "aes-256-cbc"],
        ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"],
        ["-v1", "PBE-SHA1-3DES"],
      ]
      for (const encryption of encryptions) {
        const { text } = openssl(["pkcs8", "-topk8", "-in", "key.pem", "-passout", "pass:secret", ...encryption], {
          "key.pem": plain,
        })
        expect(readPrivateKey(text, "secret").equals(key)).toBe(true)
        expect(() => readPrivateKey(text, "wrong")).toThrow("wrong passphrase")
        expect(() => readPrivateKey(text)).toThrow("needs a passphrase")
      }
      if (type === "ed25519") return
      const old = openssl(["pkey", "-in", "key.pem", "-traditional"], { "key.pem": plain }).text
      expect(old).toMatch(/-----BEGIN (RSA|EC) PRIVATE KEY-----/)
      expect(readPrivateKey(old).equals(key)).toBe(true)
      const oldEncrypted = openssl(["pkey", "-in", "key.pem", "-traditional", "-aes256", "-passout", "pass:secret"], {
        "key.pem": plain,
      })
      expect(oldEncrypted.text).toContain("Proc-Type: 4,ENCRYPTED")
      expect(readPrivateKey(oldEncrypted.text, "secret").equals(key)).toBe(true)
      expect(() => readPrivateKey(oldEncrypted.text, "wrong")).toThrow("wrong passphrase")
    })

  test("finds the key beside certificates and curve parameters", async () => {
    const key = await sharedKey("ecdsa-p256")
    const beside = toPem("EC PARAMETERS", Buffer.from("06082a8648ce3d030107", "hex"))
    expect(
      readPrivateKey(`text\n${beside}${privateKeyPem(key)}${toPem("CERTIFICATE", Buffer.from("x"))}`).equals(key),
    ).toBe(true)
    expect(() => readPrivateKey(beside)).toThrow("no private key block")
    expect(() => readPrivateKey(privateKeyPem(key) + privateKeyPem(key))).toThrow("more than one")
  })

  test("says so when a key is encrypted in a way that cannot be read, and names no secret", async () => {
    const plain = (await sharedKey("ecdsa-p256")).export({ type: "pkcs8", format: "pem" }).toString()
    const { text } = openssl(["pkcs8", "-topk8", "-scrypt", "-in", "key.pem", "-passout", "pass:hunter2"], {
      "key.pem": plain,
    })
    expect(() => readPrivateKey(text, "hunter2")).toThrow("key derivation other than PBKDF2")
    expect(() => readPrivateKey(text, "hunter2")).not.toThrow("hunter2")
  })

  test("refuses keys of other kinds", () => {
    expect(() => keyFacts(generateKeyPairSync("x25519").publicKey)).toThrow(AppError)
    expect(() => keyFacts(generateKeyPairSync("ec", { namedCurve: "P-224" }).privateKey)).toThrow("P-256")
    for (const args of [["ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], ["ed448"], ["rsa-pss"]]) {
      const { text } = openssl(["genpkey", "-algorithm", ...args])
      expect(() => readPrivateKey(text.slice(text.indexOf("-----BEGIN PRIVATE")))).toThrow(AppError)
    }
  })

  test("describes public keys it would never issue for", () => {
    const publicDer = (...args: string[]): Buffer => {
      const { text } = openssl(["genpkey", "-algorithm", ...args])
      const key = text.slice(text.indexOf("-----BEGIN PRIVATE"))
      return (
        pemBlocks(openssl(["pkey", "-pubout", "-in", "key.pem"], { "key.pem": key }).text)[0]?.der ?? Buffer.alloc(0)
      )
    }
    expect(describePublicKey(publicDer("ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"))).toMatchObject({
      algorithm: "ECDSA",
      size: 256,
      supported: false,
    })
    expect(describePublicKey(publicDer("ed448"))).toMatchObject({ algorithm: "Ed448", size: 456, supported: false })
    expect(describePublicKey(publicDer("rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"))).toMatchObject({
      algorithm: "RSA-PSS",
      size: 2048,
      supported: false,
    })
    expect(keyFacts(publicDer("rsa", "-pkeyopt", "rsa_keygen_bits:1024"))).toEqual({ algorithm: "RSA", size: 1024 })
  })

  test("tells whether a key belongs to a certificate or public key", async () => {
    const [one, other] = await Promise.all([generateKey("ecdsa-p256"), generateKey("ecdsa-p256")])
    const files = { "key.pem": privateKeyPem(one) }
    const { text } = openssl(["req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=x", "-days", "1"], files)
    const certificate = pemBlocks(text)[0]?.der ?? Buffer.alloc(0)
    expect(keysMatch(one, certificate)).toBe(true)
    expect(keysMatch(other, certificate)).toBe(false)
    expect(keysMatch(one, spkiOf(one))).toBe(true)
    expect(keysMatch(one, spkiOf(other))).toBe(false)
    expect(keysMatch(await sharedKey("ed25519"), certificate)).toBe(false)
    const compressed = openssl(["ec", "-in", "key.pem", "-pubout", "-conv_form", "compressed"], files).text
    expect(keysMatch(one, pemBlocks(compressed)[0]?.der ?? Buffer.alloc(0))).toBe(true)
    expect(() => keysMatch(one, Buffer.from("junk"))).toThrow(AppError)
  })

  test("leaves the event loop free while an RSA key is made", async () => {
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await generateKey("rsa-3072")
    clearInterval(timer)
    expect(turns).toBeGreaterThan(0)
  })

  test("throws nothing but AppError on damaged keys", async () => {
    const refusesPolitely = (run: () => unknown): void => {
      try {
        run()
      } catch (error) {
        expect(error).toBeInstanceOf(AppError)
      }
    }
    for (const type of ["ecdsa-p256", "rsa-2048", "ed25519"] as const) {
      const key = await sharedKey(type)
      const pkcs8 = key.export({ type: "pkcs8", format: "der" })
      fc.assert(
        fc.property(damaged(pkcs8), (der) => refusesPolitely(() => readPrivateKey(toPem("PRIVATE KEY", der)))),
        { numRuns: 60 },
      )
      fc.assert(
        fc.property(damaged(spkiOf(key)), (der) => {
          refusesPolitely(() => keyFacts(der))
          refusesPolitely(() => keysMatch(key, der))
        }),
        { numRuns: 60 },
      )
    }
    expect(() => buildCsr({ commonName: "x", sans: [], privateKey: generateKeyPairSync("x25519").privateKey })).toThrow(
      AppError,
    )
  })
})
