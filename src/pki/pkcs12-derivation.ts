/** The key derivation of PKCS#12 (RFC 7292 appendix B.2), by which files are encrypted in the old way and their integrity is proven. */
import { createHash } from "node:crypto"

/** The ID bytes of appendix B.3. */
export const pkcs12Purposes = { key: 1, iv: 2, mac: 3 } as const

/** Block size of SHA-1 and of SHA-256, `v` of the RFC. */
const block = 64

export interface Pkcs12Derivation {
  readonly digest: "sha1" | "sha256"
  readonly password: string
  readonly salt: Buffer
  readonly rounds: number
  readonly purpose: (typeof pkcs12Purposes)[keyof typeof pkcs12Purposes]
  /** Bytes wanted. */
  readonly length: number
}

/** Names in comments are the RFC's. */
export const derivePkcs12 = ({ digest, password, salt, rounds, purpose, length }: Pkcs12Derivation): Buffer => {
  // BMPString with a closing zero; an empty password is two zero bytes.
  const secret = Buffer.from(`${password}\0`, "utf16le").swap16()
  const filled = (bytes: Buffer) => Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes)
  // I = S || P
  const input = Buffer.concat([filled(salt), filled(secret)])
  const diversifier = Buffer.alloc(block, purpose)
  const derived: Buffer[] = []
  for (let have = 0; have < length; ) {
    let hash = createHash(digest).update(diversifier).update(input).digest()
    for (let round = 1; round < rounds; round++) hash = createHash(digest).update(hash).digest()
    derived.push(hash)
    have += hash.length
    // Every block of I becomes I + B + 1, modulo 2^512.
    const addend = Buffer.alloc(block, hash)
    for (let start = 0; start < input.length; start += block) {
      let carry = 1
      for (let at = block - 1; at >= 0; at--) {
        carry += (input[start + at] ?? 0) + (addend[at] ?? 0)
        input[start + at] = carry & 0xff
        carry >>= 8
      }
    }
  }
  return Buffer.concat(derived).subarray(0, length)
}
