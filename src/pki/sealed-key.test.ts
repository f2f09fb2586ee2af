import { expect, test } from "bun:test"
import { spawnSync } from "node:child_process"
import fc from "fast-check"
import { generateKey, keyTypes, privateKeyPem, readPrivateKey } from "./keys"
import { isSealedKey, keySeal } from "./sealed-key"

const passphrase = "correct horse battery staple ü"
const seal = keySeal(passphrase, null)

for (const type of keyTypes.filter((name) => name !== "rsa-4096")) {
  test(`a key ${type} comes back, also with the salt of another one`, async () => {
    const key = await generateKey(type)
    const sealed = seal.close(key)
    expect(isSealedKey(sealed)).toBe(true)
    expect(privateKeyPem(seal.open(sealed))).toBe(privateKeyPem(key))
    const later = keySeal(passphrase, sealed)
    expect(privateKeyPem(later.open(later.close(key)))).toBe(privateKeyPem(key))
    expect(seal.close(key)).not.toBe(sealed)
  })
}

test("the wrong passphrase and damaged text are refused without a word of the content", async () => {
  const sealed = seal.close(await generateKey("ecdsa-p256"))
  expect(() => keySeal("another one", null).open(sealed)).toThrow("the passphrase does not open it")
  expect(() => seal.open(sealed.replace("ENCRYPTED ", "").replace("ENCRYPTED ", ""))).toThrow("it is not PBES2")
  const lines = sealed.split("\n")
  fc.assert(
    fc.property(fc.nat(lines.length - 4), fc.nat(63), (line, column) => {
      const text = lines[line + 1] ?? ""
      const other = text[column] === "A" ? "B" : "A"
      const damaged = lines.with(line + 1, text.slice(0, column) + other + text.slice(column + 1)).join("\n")
      if (damaged === sealed) return
      try {
        // Without a checksum some damage of the key goes unseen here; the certificate it no longer fits tells.
        seal.open(damaged)
      } catch (error) {
        expect(error).toMatchObject({ code: "validation" })
      }
    }),
    // Damaged round counts and salts are derived anew each time.
    { numRuns: 20, seed: 7 },
  )
})

test("openssl reads what is written here, and what it writes is read here", async () => {
  const key = await generateKey("ecdsa-p256")
  const openssl = (args: string[], input: string) => {
    const { status, stdout, stderr } = spawnSync("openssl", args, {
      input,
      env: { ...process.env, KEY_PASSPHRASE: passphrase },
    })
    if (status !== 0) throw new Error(stderr.toString())
    return stdout.toString()
  }
  const plain = openssl(["pkey", "-passin", "env:KEY_PASSPHRASE"], seal.close(key))
  expect(privateKeyPem(readPrivateKey(plain))).toBe(privateKeyPem(key))
  const theirs = openssl(
    [
      "pkcs8",
      "-topk8",
      "-v2",
      "aes-256-cbc",
      "-v2prf",
      "hmacWithSHA256",
      "-iter",
      "1000",
      "-passout",
      "env:KEY_PASSPHRASE",
    ],
    privateKeyPem(key),
  )
  expect(privateKeyPem(seal.open(theirs))).toBe(privateKeyPem(key))
})
