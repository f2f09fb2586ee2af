/**
 * Unwrapping a content key that came by RSA PKCS#1 v1.5 (RFC 8017 section 7.2.2) without telling anybody whether its padding
 * was right: Bleichenbacher's attack needs no more than that. node:crypto does not offer it here, so the block is decrypted
 * as it is and looked at in constant time. Of a broken one a random key comes out (RFC 3218 section 2.3.2), which decrypts to
 * rubbish later, like any wrong key.
 */
import { constants, type KeyObject, privateDecrypt, randomBytes } from "node:crypto"

/** 1 where a byte is zero, else 0, without a branch. */
const isZero = (byte: number): number => ((byte - 1) >>> 31) & 1

/** `length` bytes: the key of a block, or `substitute` when the block is not exactly a key of that length. */
const unpad = (block: Buffer, length: number, substitute: Buffer): Buffer => {
  const separator = block.length - length - 1
  let bad = (block[0] ?? 1) | ((block[1] ?? 0) ^ 2) | (block[separator] ?? 1)
  for (let at = 2; at < separator; at++) bad |= isZero(block[at] ?? 0)
  // All ones for a good block, else zero.
  const mask = -isZero(bad & 0xff) & 0xff
  const key = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) {
    key[i] = ((block[separator + 1 + i] ?? 0) & mask) | ((substitute[i] ?? 0) & ~mask & 0xff)
  }
  return key
}

/** Always `length` bytes; whether they are the sender's nobody is told. */
export const unwrapContentKey = (privateKey: KeyObject, wrapped: Buffer, length: number): Buffer => {
  const substitute = randomBytes(length)
  let block: Buffer
  try {
    block = privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, wrapped)
  } catch {
    // Too long or not below the modulus: the sender sees that without us. The answer is the same all the same.
    return substitute
  }
  // Section 7.2.1: eight bytes of padding are the least.
  return block.length < length + 11 ? substitute : unpad(block, length, substitute)
}
