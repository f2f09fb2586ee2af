import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import fc from "fast-check"
import { parseCsr } from "../src/pki/csr"
import { generateKey, privateKeyPem, readPrivateKey, spkiOf } from "../src/pki/keys"
import { fileNameOf, keySealFor, openKeystore } from "./keystore"

let folder: string
const names = { commonName: "site.example", sans: ["site.example", "10.0.0.1", "ops@site.example"] }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-keys-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

const read = (name: string) => readFileSync(join(folder, name), "utf8")
const spki = (name: string) => spkiOf(readPrivateKey(read(name)))

test("stages one key and one request, and sends the same again after a restart", async () => {
  const csr = await openKeystore(folder, "ecdsa-p256").stagedCsr("mc-1", names)
  expect(await openKeystore(folder, "ecdsa-p256").stagedCsr("mc-1", names)).toBe(csr)
  expect(parseCsr(csr)).toMatchObject({
    commonName: "site.example",
    sans: [
      { type: "dns", value: "site.example" },
      { type: "ip", value: "10.0.0.1" },
      { type: "email", value: "ops@site.example" },
    ],
  })
  expect(read("mc-1.key.next")).toStartWith("-----BEGIN EC PRIVATE KEY-----")
  for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
})

test("makes the request anew where it was lost or damaged, for the key that is staged", async () => {
  const keystore = openKeystore(folder, "ecdsa-p256")
  await keystore.stagedCsr("mc-1", names)
  const key = spki("mc-1.key.next")
  for (const damage of [
    () => rmSync(join(folder, "mc-1.csr.next")),
    () => writeFileSync(join(folder, "mc-1.csr.next"), "x"),
  ]) {
    damage()
    expect(parseCsr(await keystore.stagedCsr("mc-1", names)).spkiDer).toEqual(key)
  }
})

describe("promotion", () => {
  test("survives being cut off after any of its steps", async () => {
    const old = privateKeyPem(await generateKey("ecdsa-p256"))
    for (const cut of ["nothing", "previous written", "renamed"]) {
      const keystore = openKeystore(folder, "ecdsa-p256")
      writeFileSync(join(folder, "mc-1.key"), old)
      await keystore.stagedCsr("mc-1", names)
      const next = read("mc-1.key.next")
      const leaf = spki("mc-1.key.next")
      if (cut !== "nothing") copyFileSync(join(folder, "mc-1.key"), join(folder, "mc-1.key.prev"))
      if (cut === "renamed") {
        copyFileSync(join(folder, "mc-1.key.next"), join(folder, "mc-1.key"))
        rmSync(join(folder, "mc-1.key.next"))
      }
      // As the job that is handed out again does it.
      const { slot } = keystore.keyFor("mc-1", leaf)
      expect(slot).toBe(cut === "renamed" ? "current" : "next")
      if (slot === "next") await keystore.promote("mc-1", leaf)
      expect([read("mc-1.key"), read("mc-1.key.prev")]).toEqual([next, old])
      expect(existsSync(join(folder, "mc-1.key.next"))).toBe(false)
      expect(keystore.keyFor("mc-1", spki("mc-1.key.prev")).slot).toBe("previous")
      for (const name of readdirSync(folder)) rmSync(join(folder, name))
    }
  })
})

test("a damaged key does not hide a good one", async () => {
  const keystore = openKeystore(folder, "ecdsa-p256")
  const good = await generateKey("ecdsa-p256")
  writeFileSync(join(folder, "mc-1.key"), privateKeyPem(good))
  writeFileSync(join(folder, "mc-1.key.next"), "garbage")
  expect(keystore.keyFor("mc-1", spkiOf(good)).slot).toBe("current")
  expect(() => keystore.keyFor("mc-1", spkiOf(readPrivateKey(privateKeyPem(good))).subarray(0, 20))).toThrow(
    "none of the 2 keys",
  )
})

test("removes half-written files of a crash, and no others", () => {
  for (const name of ["mc-1.key.next.0123456789ab.tmp", "mc-1.key", "notes.tmp"]) writeFileSync(join(folder, name), "x")
  openKeystore(folder, "ecdsa-p256")
  expect(readdirSync(folder).sort()).toEqual(["mc-1.key", "notes.tmp"])
})

test("any id becomes one file name that no other id has and that is no hidden file or option", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), fc.string({ maxLength: 300 }), (one, two) => {
      const name = fileNameOf(one)
      expect(basename(name)).toBe(name)
      expect(name).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/)
      if (one !== two) expect(fileNameOf(two)).not.toBe(name)
    }),
  )
  for (const id of ["mc-1", "a", "A.b_c-d", "x".repeat(200)]) expect(fileNameOf(id)).toBe(id)
  for (const id of ["", ".", "..", ".x", "-x", "a/b", "a\0", "x".repeat(201)])
    expect(fileNameOf(id)).toMatch(/^[0-9a-f]{64}$/)
})

describe("the type of key that a profile asks for", () => {
  test("replaces a staged key of another type, and its request", async () => {
    const keystore = openKeystore(folder, "ecdsa-p256")
    const first = await keystore.stagedCsr("mc-1", names)
    expect(await keystore.stagedCsr("mc-1", names, "ecdsa-p256")).toBe(first)
    const second = await keystore.stagedCsr("mc-1", names, "rsa-3072")
    expect(parseCsr(second)).toMatchObject({ keyAlgorithm: "RSA", keySize: 3072 })
    expect(parseCsr(second).spkiDer).toEqual(spki("mc-1.key.next"))
    // Asked for nothing, the agent stays with what is staged: the server may have signed it.
    expect(await keystore.stagedCsr("mc-1", names)).toBe(second)
    expect(parseCsr(await keystore.stagedCsr("mc-2", names, "ed25519"))).toMatchObject({ keyAlgorithm: "Ed25519" })
  })
})

describe("sealed keys", () => {
  const passphrase = "a passphrase of the host"
  const sealedStore = () => openKeystore(folder, "ecdsa-p256", keySealFor(folder, passphrase))

  test("are made, deployed and kept without a readable key on the disk", async () => {
    const keystore = sealedStore()
    const csr = parseCsr(await keystore.stagedCsr("mc-1", names))
    expect(read("mc-1.key.next")).toStartWith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    const { slot, keyPem } = sealedStore().keyFor("mc-1", csr.spkiDer)
    expect(slot).toBe("next")
    expect(keyPem).toStartWith("-----BEGIN EC PRIVATE KEY-----")
    await keystore.promote("mc-1", csr.spkiDer)
    await keystore.stagedCsr("mc-1", names)
    await keystore.promote("mc-1", parseCsr(await keystore.stagedCsr("mc-1", names)).spkiDer)
    for (const name of ["mc-1.key", "mc-1.key.prev"]) expect(read(name)).toContain("ENCRYPTED PRIVATE KEY")
    expect(keystore.keyFor("mc-1", csr.spkiDer).slot).toBe("previous")
  })

  test("take in what lay open before, and stay readable while they do", async () => {
    const open = openKeystore(folder, "ecdsa-p256")
    const csr = parseCsr(await open.stagedCsr("mc-1", names))
    await open.promote("mc-1", csr.spkiDer)
    const keystore = sealedStore()
    expect(keystore.keyFor("mc-1", csr.spkiDer).slot).toBe("current")
    expect(await keystore.sealOpenKeys()).toBe(1)
    expect(await keystore.sealOpenKeys()).toBe(0)
    expect(read("mc-1.key")).toContain("ENCRYPTED PRIVATE KEY")
    expect(keystore.keyFor("mc-1", csr.spkiDer).slot).toBe("current")
  })

  test("with another passphrase, or none, are refused at the start in one line that says what to do", async () => {
    await sealedStore().stagedCsr("mc-1", names)
    expect(() => keySealFor(folder, "some other passphrase")).toThrow(
      `CERTCTL_AGENT_KEY_PASSPHRASE is not the passphrase of ${join(folder, "mc-1.key.next")}`,
    )
    expect(() => keySealFor(folder, null)).toThrow("is sealed: set the passphrase (CERTCTL_AGENT_KEY_PASSPHRASE)")
    expect(keySealFor(join(folder, "none"), null)).toBeNull()
  })
})

test("two targets of one certificate may be promoted at the same moment", async () => {
  const keystore = openKeystore(folder, "ecdsa-p256")
  const old = privateKeyPem(await generateKey("ecdsa-p256"))
  writeFileSync(join(folder, "mc-1.key"), old)
  const { spkiDer } = parseCsr(await keystore.stagedCsr("mc-1", names))
  const next = read("mc-1.key.next")
  await Promise.all([1, 2, 3].map(() => keystore.promote("mc-1", spkiDer)))
  expect([read("mc-1.key"), read("mc-1.key.prev")]).toEqual([next, old])
})
