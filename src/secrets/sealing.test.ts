import { describe, expect, test } from "bun:test"
import { createCipheriv, pbkdf2, pbkdf2Sync, randomBytes } from "node:crypto"
import { promisify } from "node:util"
import fc from "fast-check"
import { openSealer } from "./sealing"

const deriveBytes = promisify(pbkdf2)
const passphrase = "correct horse battery staple, 32+"
const sealer = await openSealer({ passphrase })

/** The formats as they are documented, written independently of the product's code. */
const boxed = (plain: string, salt: Buffer, rounds: number, nonce: Buffer): Buffer => {
  const cipher = createCipheriv("aes-256-gcm", pbkdf2Sync(passphrase, salt, rounds, 32, "sha256"), nonce)
  return Buffer.concat([nonce, cipher.update(plain, "utf8"), cipher.final(), cipher.getAuthTag()])
}
const v1 = (plain: string, nonce = randomBytes(12)) =>
  boxed(plain, Buffer.from("certctl-config-encryption-v1"), 100_000, nonce)
const salted = (version: number, rounds: number, plain: string) => {
  const salt = randomBytes(16)
  return Buffer.concat([Buffer.from([version]), salt, boxed(plain, salt, rounds, randomBytes(12))])
}

describe("reads", () => {
  test("version 1", async () => {
    expect((await sealer.unseal(v1('{"token":"t"}'), "row")).toString()).toBe('{"token":"t"}')
  })
  test("version 2", async () => {
    expect((await sealer.unseal(salted(0x02, 100_000, "two"), "row")).toString()).toBe("two")
  })
  test("version 3", async () => {
    expect((await sealer.unseal(salted(0x03, 600_000, "three"), "row")).toString()).toBe("three")
  })
  test.each([0x02, 0x03])("version 1 whose nonce begins with the byte %p of a later version", async (first) => {
    const nonce = randomBytes(12)
    nonce[0] = first
    expect((await sealer.unseal(v1("old", nonce), "row")).toString()).toBe("old")
    expect((await sealer.unseal(v1("", nonce), "row")).toString()).toBe("")
  })
  test("a blob made once with a known salt and nonce", async () => {
    const salt = Buffer.alloc(16, 7)
    const blob = Buffer.concat([Buffer.from([2]), salt, boxed("fixed", salt, 100_000, Buffer.alloc(12, 9))])
    expect(blob.subarray(0, 29).toString("hex")).toBe(`02${"07".repeat(16)}${"09".repeat(12)}`)
    expect((await sealer.unseal(blob, "row")).toString()).toBe("fixed")
  })
})

describe("writes", () => {
  test("version 2: salt, nonce, ciphertext and tag that other software opens", async () => {
    const blob = sealer.seal("config")
    expect(blob[0]).toBe(0x02)
    expect(blob.length).toBe(1 + 16 + 12 + 6 + 16)
    const other = await openSealer({ passphrase })
    expect((await other.unseal(blob, "row")).toString()).toBe("config")
    const salt = blob.subarray(1, 17)
    expect(boxed("config", salt, 100_000, blob.subarray(17, 29)).equals(blob.subarray(17))).toBe(true)
  })
  test("one salt per process, a new nonce every time", () => {
    const blobs = Array.from({ length: 100 }, () => sealer.seal("same"))
    expect(new Set(blobs.map((blob) => blob.subarray(1, 17).toString("hex"))).size).toBe(1)
    expect(new Set(blobs.map((blob) => blob.subarray(17, 29).toString("hex"))).size).toBe(100)
  })
  test("another process has another salt", async () => {
    const other = await openSealer({ passphrase })
    expect(other.seal("x").subarray(1, 17).equals(sealer.seal("x").subarray(1, 17))).toBe(false)
  })
})

test("what is sealed opens again, byte for byte", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
      expect((await sealer.unseal(sealer.seal(bytes), "row")).equals(bytes)).toBe(true)
    }),
  )
})

test("JSON comes back as it was", async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      const wire: unknown = JSON.parse(JSON.stringify(value))
      expect(await sealer.unsealJson(sealer.sealJson(value), "row")).toEqual(wire)
    }),
  )
})

test("one changed bit anywhere opens nothing", async () => {
  const blob = sealer.seal("attack at dawn")
  // Flipping bits of version or salt costs a derivation each; those few are tried apart.
  const places = [fc.constantFrom(1, 9, 16), fc.integer({ min: 17, max: blob.length - 1 })] as const
  await fc.assert(
    fc.asyncProperty(
      fc.oneof({ weight: 1, arbitrary: places[0] }, { weight: 9, arbitrary: places[1] }),
      fc.nat(7),
      async (at, bit) => {
        const changed = Buffer.from(blob)
        changed[at] = (changed[at] ?? 0) ^ (1 << bit)
        await expect(sealer.unseal(changed, "issuer iss-1")).rejects.toThrow("issuer iss-1: cannot be unsealed")
      },
    ),
    { numRuns: 60 },
  )
}, 30_000)

test("garbage of any length is refused, never opened", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
      // The salted versions are covered above; random salts would only cost time here.
      if (bytes[0] === 2 || bytes[0] === 3) bytes[0] = 4
      await expect(sealer.unseal(bytes, "row")).rejects.toThrow("row: cannot be unsealed")
    }),
  )
})

test("another passphrase is told without showing anything", async () => {
  const stranger = await openSealer({ passphrase: "another passphrase of 32 bytes ok" })
  const error = await stranger.unseal(sealer.seal("s3cret"), "target t-1").catch((reason: unknown) => reason)
  expect(String(error)).toBe(
    "AppError: target t-1: cannot be unsealed; CERTCTL_CONFIG_ENCRYPTION_KEY is not the key it was sealed with, or it is damaged",
  )
})

test("sealed text that is not JSON is not quoted", async () => {
  const error = await sealer.unsealJson(sealer.seal("s3cret"), "target t-1").catch((reason: unknown) => reason)
  expect(String(error)).toBe("AppError: target t-1: what was sealed is not JSON")
})

describe("derivations", () => {
  const counting = async () => {
    const rounds: number[] = []
    const derive: typeof deriveBytes = (...given) => {
      rounds.push(given[2])
      return deriveBytes(...given)
    }
    return { sealer: await openSealer({ passphrase, derive }), rounds }
  }

  test("a thousand rows that other processes wrote cost one each process, however often they are opened", async () => {
    const others = await Promise.all([openSealer({ passphrase }), openSealer({ passphrase })])
    const blobs = Array.from({ length: 1000 }, (_, index) => others[index % 2]?.seal(String(index)) ?? Buffer.of())
    const { sealer: own, rounds } = await counting()
    expect(rounds).toEqual([100_000])
    for (let pass = 0; pass < 3; pass += 1) {
      const opened = await Promise.all(blobs.map((blob) => own.unseal(blob, "row")))
      expect(opened.map(String)).toEqual(blobs.map((_, index) => String(index)))
    }
    expect(rounds).toEqual([100_000, 100_000, 100_000])
    for (let n = 0; n < 1000; n += 1) own.seal(String(n))
    expect(rounds).toHaveLength(3)
  })

  test("all rows of version 1 cost one", async () => {
    const key = pbkdf2Sync(passphrase, "certctl-config-encryption-v1", 100_000, 32, "sha256")
    const blobs = Array.from({ length: 1000 }, (_, index) => {
      const nonce = randomBytes(12)
      // Those that begin like a later version would try that one first.
      if (nonce[0] === 2 || nonce[0] === 3) nonce[0] = 4
      const cipher = createCipheriv("aes-256-gcm", key, nonce)
      return Buffer.concat([nonce, cipher.update(String(index)), cipher.final(), cipher.getAuthTag()])
    })
    const { sealer: own, rounds } = await counting()
    for (const [index, blob] of blobs.entries()) expect(String(await own.unseal(blob, "row"))).toBe(String(index))
    expect(rounds).toHaveLength(2)
  })
})
