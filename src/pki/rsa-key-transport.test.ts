import { describe, expect, test } from "bun:test"
import { constants, createPublicKey, publicEncrypt, randomBytes } from "node:crypto"
import fc from "fast-check"
import { sharedKey } from "./random.arbitrary"
import { unwrapContentKey } from "./rsa-key-transport"

const privateKey = await sharedKey("rsa-2048")
const publicKey = createPublicKey(privateKey)
const blockBytes = 256

const wrap = (key: Buffer): Buffer => publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, key)
const wrapBlock = (block: Buffer): Buffer => publicEncrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, block)

/** A proper block of RFC 8017 section 7.2.1. */
const blockOf = (key: Buffer): Buffer => {
  const padding = randomBytes(blockBytes - 3 - key.length).map((byte) => byte || 1)
  return Buffer.concat([Buffer.from([0, 2]), padding, Buffer.from([0]), key])
}

const keyLength = fc.constantFrom(8, 16, 24, 32)

describe("RSA key transport", () => {
  test("gives back every key that was wrapped", () => {
    fc.assert(
      fc.property(keyLength, (length) => {
        const key = randomBytes(length)
        expect(unwrapContentKey(privateKey, wrap(key), length)).toEqual(key)
        expect(unwrapContentKey(privateKey, wrapBlock(blockOf(key)), length)).toEqual(key)
      }),
      { numRuns: 20 },
    )
  })

  test("gives a key of the right length, new each time, for any block that is not exactly right", () => {
    const damage = fc.oneof(
      fc.record({ at: fc.constant(0), to: fc.integer({ min: 1, max: 100 }) }),
      fc.record({ at: fc.constant(1), to: fc.constantFrom(0, 1, 3, 255) }),
      // A zero inside the padding, and none where it ends.
      fc.record({ at: fc.integer({ min: 2, max: blockBytes - 34 }), to: fc.constant(0) }),
      fc.record({ at: fc.constant("separator" as const), to: fc.integer({ min: 1, max: 255 }) }),
    )
    fc.assert(
      fc.property(keyLength, damage, (length, { at, to }) => {
        const key = randomBytes(length)
        const block = blockOf(key)
        block[at === "separator" ? blockBytes - length - 1 : at] = to
        const wrapped = wrapBlock(block)
        const [one, two] = [1, 2].map(() => unwrapContentKey(privateKey, wrapped, length))
        expect(one).toHaveLength(length)
        expect(one).not.toEqual(key)
        expect(one).not.toEqual(two)
      }),
      { numRuns: 60 },
    )
  })

  test("does so for a key of another length, other bytes, and what RSA itself refuses", () => {
    for (const wrapped of [
      wrap(randomBytes(16)),
      randomBytes(blockBytes).fill(0, 0, 1),
      Buffer.alloc(0),
      randomBytes(10),
      Buffer.alloc(blockBytes, 255),
      Buffer.alloc(blockBytes),
      randomBytes(5000),
    ]) {
      expect(unwrapContentKey(privateKey, wrapped, 32)).toHaveLength(32)
    }
  })
})
